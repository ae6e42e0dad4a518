import { haproxyNote, nginxNote, parseHaproxyLine, parseNginxLine, readAccessLog } from "./access-log.ts";
import { type ByteStream, gunzip, isGzip, peek } from "./byte-stream.ts";
import { goreplayHeader, goreplaySeparator, readGoreplay } from "./goreplay-reader.ts";
import { readHar } from "./har-reader.ts";
import type { Imported, ImportFormat, ImportOptions, ReadItem } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { inTimeOrder } from "./time-order.ts";

const defaultMaxRecordBytes = 64 * 1024 * 1024;
// A record is looked at as text, and a string is half a gigabyte at most.
const largestRecordBytes = 256 * 1024 * 1024;
// How much of a file's beginning is enough to tell its format.
const detectionBytes = 64 * 1024;

/**
 * The requests of a file in the format of others, gzip or not, one by one and in the order of their times as far as memory
 * allows: a file may be larger than it. What is broken is skipped, and comes as a mistake that names its place; no bytes make
 * this throw.
 *
 * Throws what the stream throws, and `RangeError` where the time zone is unknown.
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
  "this is no GoReplay file, HAR, nginx or HAProxy log; where it is one all the same, name its format";

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
