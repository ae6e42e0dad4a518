import { readFileSync } from "node:fs";
import { join } from "node:path";
import { exportRequests } from "../../../relay/exchange/export.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { collect, streamOf } from "../../support/data/byte-chunks.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";
import { assertTrue, type FileKind, type Seed } from "./file-kind.ts";
import { assertContains, checkRoundTrips, contentOf, importFile, randomOf } from "./import-checks.ts";

const form = "application/x-www-form-urlencoded";
const multipart = "multipart/form-data; boundary=b";

// What other tools write: see relay/exchange/har.
const foreign = [
  entry({ url: "https://a/", method: "GET", cookies: [{ name: "a", value: "b" }] }),
  entry({
    url: "http://a/b c?é#f",
    method: "POST",
    postData: { mimeType: form, params: [{ name: "a b", value: "é" }] },
  }),
  entry({
    url: "http://a/m",
    method: "PUT",
    bodySize: -1,
    postData: { mimeType: multipart, params: [{ name: "f", fileName: "x", value: "1", contentType: "a/b" }] },
  }),
  entry({
    url: "http://a/t",
    method: "POST",
    postData: { mimeType: "text/plain", text: "AAEC/w==", encoding: "base64" },
  }),
  entry({
    url: "http://a/z",
    method: "POST",
    bodySize: 3,
    headers: [{ name: "Content-Length", value: "3" }],
    postData: { mimeType: "", text: "\u00e9a" },
  }),
  entry({
    url: "http://a/s",
    method: "POST",
    postData: { mimeType: "text/plain", text: "content-type: text/plain\r\ncontent-length: 2\r\n\r\nhi" },
  }),
  entry({ url: "wss://a/", method: "GET" }),
  entry({ url: "http://a:443", method: "CONNECT" }),
  entry({ url: "https://a/cached", method: "GET" }, { _fromCache: "disk" }),
  entry({ url: "https://a/none", method: "GET" }, { response: { status: 0, _error: "net::ERR_FAILED" } }),
  entry({ url: "https://a/lost", method: "GET" }, { startedDateTime: "yesterday" }),
];

const own: readonly Partial<CapturedRequest>[] = [
  {},
  {
    method: "get",
    path: "//a/%zz?\xff",
    headers: [":x", "\xe9", "Host", "a", "host", "b"],
    body: Buffer.from("\xff\0", "latin1"),
  },
  { bodyState: "truncated", version: "", src: "\xff", primary: { status: 503, timeMs: 7, headers: ["Age", "1"] } },
  { bodyState: "omitted", body: Buffer.alloc(0), primary: { digest: "d", bytes: 5 } },
];

const marks = [
  ...'"log":|"entries":[|]}}|},{|[{}]|{"log":{"entries":[]}}|\\u0000|\\ud800|\\udc80|\\u2028|\\|"|null|true|{}|[]|""|-1|1e999'.split(
    "|",
  ),
  ...'"__proto__":{"a":1}|"toString":null|"_spoaRelay":{}|"_spoaRelay":{"primary":{}},|"headers":true|"name":""|"value":null'.split(
    "|",
  ),
  ...'"startedDateTime":"2026-01-02T03:04:05Z"|"status":101|"bodySize":-1|"encoding":"base64"|"fileName":"x"|"httpVersion":"h3-29"'.split(
    "|",
  ),
  ..."+275760-09-13T00:00:00Z|9999-12-31T23:59:59.999Z|1969-12-31T23:59:59Z|2026-02-30T00:00:00Z|2026-01-02T03:04:05.123456789+14:00".split(
    "|",
  ),
  ...'"name":"content-length","value":"4"|"name":"transfer-encoding","value":"chunked"|"name":":authority","value":"b"|://[::1|@|#'.split(
    "|",
  ),
];

/** An entry of a seed: where the comma or bracket before it is, and the one behind it, and the request in it. */
interface KnownEntry {
  readonly start: number;
  readonly end: number;
  readonly request: string;
}

const good = entry({ url: "https://a/", method: "GET" });
const seeds: readonly Seed[] = [
  // An entry with a bracket too many, one that is no object, and one without a comma before it.
  {
    bytes: Buffer.from(`{"log":{"entries":[${good},{"request":{}]},${good},7,${good}${good}]}}`),
    accepted: 2,
    refused: 3,
  },
  { bytes: readFileSync(join(import.meta.dirname, "../../fixtures/sample.har")), accepted: 2, refused: 1 },
  { bytes: Buffer.from(`{"log":{"version":"1.2","entries":[\n${foreign.join(",\n")}\n]}}\n`), accepted: 6, refused: 5 },
  {
    bytes: Buffer.concat(
      await collect(
        exportRequests("har", streamOf(own.map((each, i) => expectedRequest({ ...each, id: `r${i}` }, i)))),
      ),
    ),
    accepted: 4,
    refused: 0,
  },
];
const known = new Map<Seed, readonly KnownEntry[]>();

export const harFiles: FileKind = {
  name: "HAR file",
  seeds,
  share: 200,
  marks,
  read: async (bytes) => {
    if (known.size === 0) for (const seed of seeds) known.set(seed, await readKnown(seed.bytes));
    const detects = randomOf(bytes)() < 0.3;
    const result = await importFile(bytes, detects ? undefined : "har");
    const { requests, leftOut, mistakes } = result;
    await checkRoundTrips(bytes, requests);
    if (result.format === "har" && bytes[0] !== 0x1f) {
      checkCount(bytes, requests.length + leftOut + mistakes.length);
      checkLosses(bytes, requests.map(contentOf));
    }
    return { accepted: requests.length, refused: leftOut + mistakes.length };
  },
};

function entry(request: object, rest: object = {}): string {
  const startedDateTime = "2026-01-02T03:04:05.678Z";
  return JSON.stringify({ startedDateTime, time: 3.4, request, response: { status: 200, bodySize: 5 }, ...rest });
}

/** A document that is JSON has one item for each entry. */
function checkCount(bytes: Buffer, items: number): void {
  const text = bytes.toString();
  // With such keys more than once, or written with escapes, tools differ in what they take.
  if (
    /\\u00[46]/.test(text) ||
    countOf(text, /"_note"/g) > 1 ||
    countOf(text, /"log"/g) !== 1 + countOf(text, /"log": \[\]/g)
  )
    return;
  if (countOf(text, /"entries"/g) !== 1 + countOf(text, /_note|\\"entries/g) + countOf(text, /"entries":\[\]\}\}/g))
    return;
  let document: { readonly log?: { readonly entries?: unknown } } | null;
  try {
    document = JSON.parse(text);
  } catch {
    return;
  }
  const entries = document?.log?.entries;
  if (!Array.isArray(entries)) return;
  assertTrue(items === entries.length, `${items} items were read from ${entries.length} entries`);
}

/** No entry is lost that ends before the damage; none at all if the damage leaves the structure as it was. */
function checkLosses(bytes: Buffer, found: readonly string[]): void {
  const [seed, prefix] = seeds
    .map((each) => [each, commonStart(each.bytes, bytes)] as const)
    .reduce((best, each) => (each[1] > best[1] ? each : best));
  const entries = known.get(seed) ?? [];
  if (prefix < (entries[0]?.start ?? 0)) return;
  const suffix = commonEnd(seed.bytes, bytes, prefix);
  const middle = (text: Buffer) => text.toString("latin1", prefix, text.length - suffix);
  // Behind a backslash, a letter in place of a quote moves the end of the text.
  const isEscaped = seed.bytes[prefix - 1] === 0x5c || bytes[prefix - 1] === 0x5c;
  const [before, after] = [middle(seed.bytes), middle(bytes)].map(structureOf);
  const end = seed.bytes.length - suffix;
  // A closing bracket too many in an entry belongs to it: it does not end the list.
  const inEntry = entries.some((each) => each.start + 1 < prefix && end < each.end - 1);
  const isSame = before === (inEntry && !before.includes("]") ? after.replaceAll("]", "") : after);
  const isSound = !isEscaped && isSame;
  const sound = entries.filter(({ start, end }) => end < prefix || (isSound && start >= end));
  assertContains(
    found,
    sound.map(({ request }) => request).filter((request) => request !== ""),
    "an undamaged entry",
  );
}

async function readKnown(bytes: Buffer): Promise<readonly KnownEntry[]> {
  const text = bytes.toString("latin1");
  const entries: KnownEntry[] = [];
  const list = text.search(/"entries":\s?\[\s*\{"?/);
  let [depth, start, quoted] = [0, -1, false];
  for (let at = text.indexOf("[", list) + 1; depth >= 0; at++) {
    const character = text[at];
    if (character === "\\") at++;
    else if (character === '"') quoted = !quoted;
    else if (!quoted && /[[{]/.test(character) && depth++ === 0) start = at;
    else if (!quoted && /[\]}]/.test(character) && --depth === 0) {
      const alone = Buffer.from(`{"log":{"entries":[${text.slice(start, at + 1)}]}}`, "latin1");
      const { requests } = await importFile(alone, "har");
      const spaces = /\s*$/.exec(text.slice(0, start))?.[0].length ?? 0;
      const end = at + 1 + text.slice(at + 1).search(/[,\]]/);
      entries.push({ start: start - 1 - spaces, end, request: requests.map(contentOf).join() });
    }
  }
  return entries;
}

function structureOf(text: string): string {
  return text.replace(/[^"{}[\],:\\]/g, "");
}

function commonStart(a: Buffer, b: Buffer): number {
  let at = 0;
  while (at < a.length && at < b.length && a[at] === b[at]) at++;
  return at;
}

function commonEnd(a: Buffer, b: Buffer, start: number): number {
  let bytes = 0;
  const most = Math.min(a.length, b.length) - start;
  while (bytes < most && a[a.length - 1 - bytes] === b[b.length - 1 - bytes]) bytes++;
  return bytes;
}

function countOf(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
