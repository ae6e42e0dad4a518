import type { PrimaryOutcome } from "../../pack/captured-request.ts";
import type { ByteStream } from "../byte-stream.ts";
import { parseHttpText } from "../http-text.ts";
import { maxCapturedAtMs, type Parsed, type ReadItem, type ReadRequest } from "../imported.ts";
import { type SplitRecord, splitRecords } from "../record-splitter.ts";

/** Follows each record of a GoReplay file. */
export const goreplaySeparator = Buffer.from("\n🐵🙈🙉\n");

/** The first line of a record: kind, id, time in nanoseconds and, for responses, the latency in nanoseconds. */
export const goreplayHeader = /^([123]) (\S{1,256}) (\d{1,25})(?: (-?\d{1,25}))?[ \t]*\r?$/;

// A response follows its request, with other records in between. At most this many requests, and bytes of their bodies,
// are held until their responses are read.
const maxWaiting = 1_000;
const maxWaitingBytes = 16 * 1024 * 1024;

interface Response {
  readonly id: string;
  readonly atMs: number;
  /** Undefined if GoReplay did not measure it. */
  readonly latencyMs: number | undefined;
  readonly status: number;
}

interface Waiting {
  request: ReadRequest;
  readonly bytes: number;
}

/**
 * Reads the requests of a GoReplay file. Adds the primary's response to a request if it follows within 1,000 requests and
 * 16 MiB of bodies.
 */
export async function* readGoreplay(stream: ByteStream, name: string, maxBytes: number): AsyncGenerator<ReadItem> {
  const waiting: Waiting[] = [];
  const byId = new Map<string, Waiting>();
  let waitingBytes = 0;
  for await (const record of splitRecords(stream, goreplaySeparator, maxBytes)) {
    const parsed = parseRecord(record, maxBytes);
    if (parsed === undefined) continue;
    if (typeof parsed === "string") {
      yield { kind: "mistake", place: `${name}: record ${record.number} at byte ${record.offset}`, reason: parsed };
    } else if ("atMs" in parsed) {
      const answered = byId.get(parsed.id);
      if (answered) answered.request = withResponse(answered.request, parsed);
    } else {
      const entry: Waiting = { request: parsed, bytes: parsed.body.length };
      waiting.push(entry);
      byId.set(parsed.id, entry);
      waitingBytes += entry.bytes;
    }
    while (waiting.length > maxWaiting || waitingBytes > maxWaitingBytes) {
      const [first] = waiting.splice(0, 1);
      waitingBytes -= first.bytes;
      const { request } = first;
      if (byId.get(request.id) === first) byId.delete(request.id);
      yield { kind: "request", request };
    }
  }
  for (const { request } of waiting) yield { kind: "request", request };
}

/** Returns undefined for a record to ignore: a replayed response, or the line break at the end of a hand-made file. */
function parseRecord({ bytes, closed }: SplitRecord, maxBytes: number): Parsed | Response | undefined {
  if (!bytes) return `the record is longer than ${maxBytes} bytes`;
  if (!closed && bytes.toString("latin1").trim() === "") return undefined;
  const lineEnd = bytes.indexOf("\n");
  const match = goreplayHeader.exec(bytes.toString("latin1", 0, Math.min(Math.max(lineEnd, 0), 1024)));
  if (!match) return "the record does not begin with kind, id and time";
  const [, kind, id, nanoseconds, latency] = match;
  if (kind === "3") return undefined;
  const atMs = toMs(nanoseconds);
  if (atMs > maxCapturedAtMs) return "the time of the record is out of range";
  const payload = bytes.subarray(lineEnd + 1);
  if (kind === "2")
    return parseResponse(payload, { id, atMs, latencyMs: /^0*[1-9]/.test(latency ?? "") ? toMs(latency) : undefined });
  const text = parseHttpText(payload);
  if (typeof text === "string") return text;
  // GoReplay was stopped while it wrote this record.
  if (!closed && text.bodyState !== "complete") return "the file ends within this record";
  return { id, capturedAtMs: atMs, src: "", ...text };
}

function parseResponse(payload: Buffer, { id, atMs, latencyMs }: Omit<Response, "status">): Response | string {
  const status = /^HTTP\/\d(?:\.\d)? (\d{3})[ \r\n]/.exec(payload.toString("latin1", 0, 64));
  return status ? { id, atMs, latencyMs, status: Number(status[1]) } : "the response has no status line";
}

function withResponse(request: ReadRequest, { status, atMs, latencyMs }: Response): ReadRequest {
  const sinceMs = atMs > request.capturedAtMs ? atMs - request.capturedAtMs : undefined;
  const timeMs = latencyMs ?? sinceMs;
  const primary: PrimaryOutcome = { status, ...(timeMs !== undefined && { timeMs }) };
  return { ...request, primary };
}

/** Cuts digits off the text: nanoseconds since 1970 exceed the integers that a number holds exactly. */
function toMs(nanoseconds: string): number {
  return Number(nanoseconds.slice(0, -6) || "0");
}
