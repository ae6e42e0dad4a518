import { crc32 } from "node:zlib";
import { maxCaptureMs } from "../../../relay/capture/object-name.ts";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import { exportRequests } from "../../../relay/exchange/export.ts";
import { exportFormats } from "../../../relay/exchange/exported.ts";
import { importRequests } from "../../../relay/exchange/import.ts";
import type { Imported, ImportFormat } from "../../../relay/exchange/imported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { toJsonLine } from "../../../relay/pack/request-line.ts";
import { collect, inChunks, streamOf } from "../../support/data/byte-chunks.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { assertSame, assertTrue, toJson } from "./file-kind.ts";

/** What an import made of a file. */
export interface ImportResult {
  readonly format: ImportFormat | undefined;
  readonly requests: readonly CapturedRequest[];
  readonly leftOut: number;
  /** Each as `place: reason`. */
  readonly mistakes: readonly string[];
}

const bodyStates: readonly string[] = ["complete", "truncated", "omitted"];
// The places of `importRequests`: the whole file, a line, or an entry or record with its offset.
const place = /^file(?::(\d+)|: (?:entry|record) \d+ at byte (\d+))?$/;
// A reason is ours, so it has no bytes of the file in it.
const reasonText = /^[A-Za-z][\w ,.:;()*'/+-]{3,200}$/;

/** Imports a file and checks each item on its own. Small chunks, and small limits, are chosen by the bytes. */
export async function importFile(bytes: Buffer, format?: ImportFormat): Promise<ImportResult> {
  const result = await readItems(bytes, bytes.length + 1, format);
  const random = randomOf(bytes);
  // How much of damaged gzip data can be read depends on the chunks.
  if (random() < 0.15 && !result.mistakes.some((mistake) => /gzip/.test(mistake))) {
    const chunked = await readItems(bytes, 1 + Math.floor(random() * 100), format);
    assertSame(chunked, result, "the same file in short chunks");
  }
  return result;
}

async function readItems(bytes: Buffer, chunkBytes: number, format: ImportFormat | undefined): Promise<ImportResult> {
  const items = await collect(importRequests(inChunks(bytes, chunkBytes), { name: "file", ...(format && { format }) }));
  const first = items[0];
  const requests = items.flatMap((item) => (item.kind === "request" ? [item.request] : []));
  for (const item of items) checkItem(item, bytes);
  checkOrder(requests);
  assertTrue(
    items.slice(1).every(({ kind }) => kind !== "format"),
    "the format is named twice",
  );
  return {
    format: first?.kind === "format" ? first.format : undefined,
    requests,
    leftOut: items.filter(({ kind }) => kind === "leftOut").length,
    mistakes: items.flatMap((item) => (item.kind === "mistake" ? [`${item.place}: ${item.reason}`] : [])),
  };
}

function checkItem(item: Imported, bytes: Buffer): void {
  if (item.kind === "request") return checkRequest(item.request);
  if (item.kind === "format") return;
  assertTrue(reasonText.test(item.reason), () => `the reason ${JSON.stringify(item.reason)} has other characters`);
  if (item.kind !== "mistake") return;
  const [, line, offset] = place.exec(item.place) ?? assertPlace(item.place);
  const lines = line === undefined ? 0 : bytes.toString("latin1").split("\n").length;
  // Unzipped, a file is longer.
  const isGzip = bytes[0] === 0x1f;
  assertTrue(isGzip || Number(line ?? 0) <= lines, () => `${item.place} is behind the last line`);
  assertTrue(isGzip || Number(offset ?? 0) <= bytes.length, () => `${item.place} is behind the end`);
}

function assertPlace(text: string): never {
  throw new Error(`a mistake has the place ${JSON.stringify(text)}`);
}

function checkRequest({ id, capturedAtMs, method, path, version, src, headers, bodyState }: CapturedRequest): void {
  assertTrue(Number.isInteger(capturedAtMs) && capturedAtMs >= 0 && capturedAtMs <= 8.64e15, "a time is out of range");
  assertTrue(method !== "" && path !== "" && id !== "", "a request has no method, path or id");
  assertTrue(path.startsWith("/"), "a path does not begin with /");
  assertTrue(headers.length % 2 === 0, "a header has no value");
  assertTrue(bodyStates.includes(bodyState), "a body has an unknown state");
  for (const text of [id, method, path, version, src, ...headers]) {
    assertTrue(!/[^\0-\xff]/.test(text), "a text has a character that is no byte");
  }
}

function checkOrder(requests: readonly CapturedRequest[]): void {
  requests.forEach(({ index, capturedAtMs }, i) => {
    assertTrue(index === i, "the indexes of the requests have a gap");
    assertTrue(
      i === 0 || capturedAtMs >= requests[i - 1].capturedAtMs,
      "the requests are not in the order of their times",
    );
  });
  assertTrue(new Set(requests.map(({ id }) => id)).size === requests.length, "two requests have the same id");
}

/** Checks that requests survive a capture, and each export from which they can be read back. */
export async function checkRoundTrips(bytes: Buffer, requests: readonly CapturedRequest[]): Promise<void> {
  // Later requests are refused by the command.
  const timely = requests.filter(({ capturedAtMs }) => capturedAtMs <= maxCaptureMs);
  const packed = toPacks(timely, { agent: "import", sequence: 1 }).flatMap((pack) => pack.requests);
  assertSame(packed.map(toParts), timely.map(toParts), "the requests in a capture");
  const random = randomOf(bytes);
  random();
  const chance = random();
  if (chance < 0.1) await checkHar(timely);
  else if (chance < 0.2) await checkGoreplay(timely);
  else if (chance < 0.25) {
    for (const format of exportFormats) await collect(exportRequests(format, streamOf(timely), { redact: true }));
  } else if (chance < 0.3) for (const request of timely) toJsonLine(request, { secrets: false });
}

/** A HAR file restores everything. */
async function checkHar(requests: readonly CapturedRequest[]): Promise<void> {
  const { file, kept } = await write("har", requests);
  const { requests: restored, mistakes, leftOut } = await readItems(file, file.length, "har");
  assertSame({ mistakes, leftOut }, { mistakes: [], leftOut: 0 }, "an import of an exported HAR");
  assertSame(restored.map(toParts), kept.map(toParts), "the requests of an exported HAR");
}

/** A GoReplay file does not hold everything, but an import of it makes the same file again. */
async function checkGoreplay(requests: readonly CapturedRequest[]): Promise<void> {
  const { file, kept } = await write("goreplay", requests);
  const { requests: restored, mistakes, leftOut } = await readItems(file, file.length, "goreplay");
  assertSame({ mistakes, leftOut }, { mistakes: [], leftOut: 0 }, "an import of an exported GoReplay file");
  assertTrue(restored.length === kept.length, "an exported GoReplay file has another number of requests");
  const again = await write("goreplay", restored);
  assertTrue(again.file.equals(file), () => `another export is ${toJson(again.file.toString("latin1"))}`);
}

async function write(format: "har" | "goreplay", requests: readonly CapturedRequest[]) {
  const skipped = new Set<CapturedRequest>();
  const parts = exportRequests(format, streamOf(requests), { onSkipped: (request) => skipped.add(request) });
  return { file: Buffer.concat(await collect(parts)), kept: requests.filter((request) => !skipped.has(request)) };
}

/** What an export keeps: the index is that in the file, and a pack holds more than its requests. */
function toParts({ index: _, ...request }: CapturedRequest & { readonly record?: Uint8Array }): object {
  const { record: _record, ...parts } = request;
  return parts;
}

/** Counts texts, so that two lists can be compared in any order. */
function countTexts(texts: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}

/** Throws if one of the texts is missing among the others, as often as it is there. */
export function assertContains(all: readonly string[], wanted: readonly string[], what: string): void {
  const counts = countTexts(all);
  for (const [text, count] of countTexts(wanted)) {
    assertTrue((counts.get(text) ?? 0) >= count, () => `${what} is lost: ${text}`);
  }
}

/** What a request is, apart from its id and its index, which depend on the requests around it. */
export function contentOf({ id: _id, index: _index, ...content }: CapturedRequest): string {
  return toJson(content);
}

/** Random numbers that depend only on the bytes. */
export function randomOf(bytes: Uint8Array): () => number {
  const random = seededRandom(crc32(bytes));
  random();
  return random;
}
