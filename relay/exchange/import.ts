import { haproxyNote, nginxNote, parseHaproxyLine, parseNginxLine, readAccessLog } from "./access-log.ts";
import { type ByteStream, gunzip, isGzip, peek } from "./byte-stream.ts";
import { readGoreplay } from "./goreplay-reader.ts";
import { readHar } from "./har-reader.ts";
import { detectFormat, detectionBytes } from "./import-format.ts";
import type { Imported, ImportFormat, ImportOptions, ReadItem } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { inTimeOrder } from "./time-order.ts";

const defaultMaxRecordBytes = 64 * 1024 * 1024;
// Records are decoded into strings, and a string holds at most about 512 MiB.
const largestRecordBytes = 256 * 1024 * 1024;

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
