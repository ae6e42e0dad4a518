import { haproxyNote, nginxNote, parseHaproxyLine, parseNginxLine, readAccessLog } from "./access-log.ts";
import { type ByteStream, gunzip, isGzip, peek } from "./byte-stream.ts";
import { goreplayHeader, goreplaySeparator, readGoreplay } from "./goreplay/goreplay-reader.ts";
import { readHar } from "./har/har-reader.ts";
import type { Imported, ImportFormat, ImportOptions, ReadItem } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { inTimeOrder } from "./time-order.ts";

const defaultMaxRecordBytes = 64 * 1024 * 1024;
// Records are decoded into strings, and a string holds at most about 512 MiB.
const largestRecordBytes = 256 * 1024 * 1024;
// How much of a file's beginning is enough to tell its format.
const detectionBytes = 64 * 1024;

/**
 * Reads the requests of another tool's file, gzipped or not, one by one. Sorts them by capture time as far as
 * `inTimeOrder` can: a file may be larger than memory. Skips each broken record and yields a mistake that names its
 * place; invalid content never makes this throw.
 *
 * Throws the errors of the stream, and `RangeError` if the time zone is unknown.
 */
export async function* importRequests(stream: ByteStream, options: ImportOptions): AsyncGenerator<Imported> {
  const { name, timeZone = "UTC" } = options;
  const maxRecordBytes = Math.min(options.maxRecordBytes ?? defaultMaxRecordBytes, largestRecordBytes);
  assertTimeZone(timeZone);
  let damage: string | undefined;
  const { head: magic, all } = await peek(stream, 2);
  const unzipped = isGzip(magic) ? gunzip(all, (reason) => (damage = reason)) : all;
  const { head, all: content } = await peek(unzipped, detectionBytes);
  try {
    const format = options.format ?? detectFormat(head);
    if (format !== undefined) {
      const note = notes[format];
      yield { kind: "format", format, ...(note !== undefined && { note }) };
      yield* inTimeOrder(readers[format](content, name, maxRecordBytes, timeZone));
    }
    if (damage !== undefined) yield { kind: "mistake", place: name, reason: damage };
    else if (format === undefined) yield { kind: "mistake", place: name, reason: unknownFormat };
  } finally {
    await content.return?.();
  }
}

/** The format of a file by its first bytes; undefined if it looks like none of them. */
function detectFormat(head: Buffer): ImportFormat | undefined {
  const text = head.toString("latin1");
  // A byte order mark is allowed before JSON.
  if (/^(?:\xef\xbb\xbf)?[ \t\r\n]*\{/.test(text)) return "har";
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  if (goreplayHeader.test(lines[0]) || head.includes(goreplaySeparator)) return "goreplay";
  for (const line of lines) {
    if (typeof parseHaproxyLine(line, "UTC") !== "string") return "haproxy";
    if (typeof parseNginxLine(line, "UTC") !== "string") return "nginx";
  }
  return undefined;
}

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
