import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assertTrue, type FileKind, type Seed, type Verdict } from "./file-kind.ts";
import { assertContains, checkRoundTrips, contentOf, importFile, randomOf } from "./import-checks.ts";

const fixtures = join(import.meta.dirname, "../../fixtures");
const marks = [
  ...'" HTTP/1.1"|"GET |\\"|\\x22|\\xZZ|#23|#|- - |[|]|[02/Jan/2026:03:04:05 +0000]|[02/Jan/2026:03:04:05.655]'.split(
    "|",
  ),
  ..."30/Feb/2026:00:00:00 +0000|31/Dec/1969:23:59:60 -1400|01/Jan/9999:00:00:00 +1500|-1/-1/-1/-1/0|+|: |:0 ".split(
    "|",
  ),
  ..."PRI * HTTP/2.0|CONNECT a:443|OPTIONS *|http://|<BADREQ>| 101 |\xff|%00".split("|"),
  '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 1\n',
];

// Times that do not exist or are before 1970, and then a leap second, the last of the first year and a far one.
const times = [
  ..."30/Feb/2026:00:00:00 +0000|31/Dec/1969:23:59:59 +0000|01/Jan/1970:05:00:00 +1400|02/Jan/2026:24:00:00 +0000".split(
    "|",
  ),
  ..."31/Dec/2016:23:59:60 +0000|31/Dec/1970:23:59:59 +0000|01/Jan/9999:00:00:00 -1400".split("|"),
].map((time) => `192.0.2.1 - - [${time}] "GET / HTTP/1.1" 200 1\n`);

export const nginxLogs: FileKind = logKind("nginx", { accepted: 4, refused: 3 }, [
  { bytes: Buffer.from(times.join("")), accepted: 3, refused: 4 },
]);
export const haproxyLogs: FileKind = logKind("haproxy", { accepted: 4, refused: 3 }, []);

function logKind(format: "nginx" | "haproxy", expected: Verdict, others: readonly Seed[]): FileKind {
  const text = readFileSync(join(fixtures, `sample-${format}.log`), "latin1");
  const seed: Seed = { bytes: Buffer.from(text, "latin1"), ...expected };
  const crlf: Seed = { bytes: Buffer.from(text.replaceAll("\n", "\r\n"), "latin1"), ...expected };
  // What each undamaged line becomes, by its text.
  const known = new Map<string, string>();
  return {
    name: `${format} log`,
    seeds: [seed, crlf, ...others],
    share: 80,
    marks,
    read: async (bytes) => {
      if (known.size === 0) {
        for (const line of linesOf(seed.bytes)) {
          const { requests } = await importFile(Buffer.from(line, "latin1"), format);
          known.set(line, requests.map(contentOf).join());
        }
      }
      const detects = randomOf(bytes)() < 0.3;
      const result = await importFile(bytes, detects ? undefined : format);
      const { requests, leftOut, mistakes } = result;
      await checkRoundTrips(bytes, requests);
      if (result.format === format && !looksZipped(bytes)) {
        const lines = linesOf(bytes);
        const items = requests.length + leftOut + mistakes.length;
        assertTrue(items === lines.length, `${items} items were read from ${lines.length} lines`);
        const expectedRequests = lines.map((line) => known.get(line) ?? "").filter((content) => content !== "");
        assertContains(requests.map(contentOf), expectedRequests, "the request of an undamaged line");
      }
      return { accepted: requests.length, refused: leftOut + mistakes.length };
    },
  };
}

/** The lines that are not empty, one character for each byte. */
function linesOf(bytes: Buffer): string[] {
  const text = bytes.toString("latin1").replace(/^\xef\xbb\xbf/, "");
  const lines = text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  return lines.filter((line) => line !== "");
}

function looksZipped(bytes: Buffer): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}
