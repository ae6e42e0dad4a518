import { haproxyNote, isLogLine, nginxNote, parseHaproxyLine, parseNginxLine, readAccessLog } from "./access-log.ts";
import { type ByteStream, gunzip, isGzip, peek } from "./byte-stream.ts";
import { readGoreplay } from "./goreplay/goreplay-reader.ts";
import { goreplayHeader, goreplayMark } from "./goreplay/record-parser.ts";
import { readHar } from "./har/har-reader.ts";
import type { Imported, ImportFormat, ImportOptions, ReadItem } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { byteOrderMark } from "./record-splitter.ts";
import { RequestIdSource } from "./request-ids.ts";
import { inTimeOrder } from "./time-order.ts";

const defaultMaxRecordBytes = 64 * 1024 * 1024;
// Records are decoded into strings, and a string holds at most about 512 MiB.
const largestRecordBytes = 256 * 1024 * 1024;
// How much of a file's beginning is enough to tell its format.
const detectionBytes = 64 * 1024;

/**
 * Reads the requests of another tool's file, gzipped or not, one by one. Sorts them by capture time as far as
 * `inTimeOrder` can: a file may be larger than memory. Leaves out requests that were not sent to a server or cannot be
 * sent again, and yields the reason. Skips each damaged record and yields a mistake that names its place; invalid
 * content never makes this throw.
 *
 * Throws the errors of the stream, and `RangeError` if the time zone is unknown.
 */
export async function* importRequests(stream: ByteStream, options: ImportOptions): AsyncGenerator<Imported> {
  const { name, timeZone = "UTC", ids = new RequestIdSource() } = options;
  const maxRecordBytes = Math.min(options.maxRecordBytes ?? defaultMaxRecordBytes, largestRecordBytes);
  assertTimeZone(timeZone);
  let damage: string | undefined;
  const { head: magic, all } = await peek(stream, 2);
  const unzipped = isGzip(magic) ? gunzip(all, (reason) => (damage = reason)) : all;
  const { head, all: content } = await peek(unzipped, detectionBytes);
  try {
    const isUtf16 = looksLikeUtf16(head);
    const format = isUtf16 ? undefined : (options.format ?? detectFormat(head));
    if (format !== undefined) {
      const note = notes[format];
      yield { kind: "format", format, ...(note !== undefined && { note }) };
      yield* inTimeOrder(readers[format](content, name, maxRecordBytes, timeZone), ids.startFile());
    }
    if (damage !== undefined) yield { kind: "mistake", place: name, reason: damage };
    else if (format === undefined) yield { kind: "mistake", place: name, reason: isUtf16 ? utf16 : unknownFormat };
  } finally {
    await content.return?.();
  }
}

/** The format of a file by its first bytes; undefined if it looks like none of them. */
function detectFormat(head: Buffer): ImportFormat | undefined {
  const text = head.toString("latin1").replace(byteOrderMark, "");
  if (/^[ \t\r\n]*\{/.test(text)) return "har";
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  if (goreplayHeader.test(lines[0]) || head.includes(goreplayMark)) return "goreplay";
  for (const line of lines) {
    if (isLogLine(parseHaproxyLine, line)) return "haproxy";
    if (isLogLine(parseNginxLine, line)) return "nginx";
  }
  return undefined;
}

/** Whether the file begins with the byte order mark of UTF-16, or its first two characters are ASCII in UTF-16. */
function looksLikeUtf16(head: Buffer): boolean {
  return /^(?:\xff\xfe|\xfe\xff|[\t\n\r -~]\0[\t\n\r -~]\0|\0[\t\n\r -~]\0[\t\n\r -~])/.test(
    head.toString("latin1", 0, 4),
  );
}

const utf16 = "the file is UTF-16; convert it to UTF-8 first, for example with: iconv -f UTF-16 -t UTF-8";
const unknownFormat =
  "unknown format: neither a GoReplay file, a HAR, nor an nginx or HAProxy log; if it is one, name it with --format";

type Reader = (content: ByteStream, name: string, maxBytes: number, timeZone: string) => AsyncGenerator<ReadItem>;

const readers: Readonly<Record<ImportFormat, Reader>> = {
  goreplay: readGoreplay,
  har: readHar,
  nginx: (content, name, _maxBytes, timeZone) => readAccessLog(content, name, parseNginxLine, timeZone),
  haproxy: (content, name, _maxBytes, timeZone) => readAccessLog(content, name, parseHaproxyLine, timeZone),
};

const notes: Readonly<Partial<Record<ImportFormat, string>>> = { nginx: nginxNote, haproxy: haproxyNote };

function assertTimeZone(timeZone: string): void {
  parseLogTime("01/Jan/2026:00:00:00", timeZone);
}
