import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assertTrue, type FileKind } from "./file-kind.ts";
import { assertContains, checkRoundTrips, contentOf, importFile, randomOf } from "./import-checks.ts";

const mark = "\n🐵🙈🙉\n";
const sample = readFileSync(join(import.meta.dirname, "../../fixtures/sample.gor"));
// Ids of connections, whose answers come in order; a body in two pieces; answers of an upgrade, and one that is interim.
const connections = [
  "1 c1 1767323045000000000 0\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
  "1 c1 1767323045100000000 0\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\nb\n🐵🙈🙉\n",
  "2 c1 1767323045200000000 1000000\nHTTP/1.1 200 OK\r\nAge: 1\r\n\r\n",
  "2 c1 1767323045300000000 1000000\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
  "1 c2 1767323045400000000\r\nPUT http://a/3?q#f HTTP/1.0\nhost: a\ntransfer-encoding: gzip, chunked\n\n3\nabc\n0\nx: y\n\n",
  "1 c3 1767323045500000000 0\nGET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  "1 c4 1767323045600000000 0\nCONNECT a:443 HTTP/1.1\r\n\r\n",
];
const marks = [
  ..."🐵🙈🙉|\n🐵🙈🙉|\n🐵🙈🙉\r\n|1 a 1\n|1 a 1767323045000000000 0\nGET / HTTP/1.1\r\n\r\n|2 c1 1 1\nHTTP/1.1 200\r\n\r\n|3 a 1 1\n".split(
    "|",
  ),
  ..."Content-Length: 5\r\n|content-length: 0\r\n|Transfer-Encoding: chunked\r\n|\r\n\r\n|\n\n|0\r\n\r\n|ffffffff\r\n|5;a=b\r\n".split(
    "|",
  ),
  ..." HTTP/1.1|HTTP/1.1 100\r\n\r\n|HTTP/1.1 101\r\n\r\n|PRI * HTTP/2.0\r\n\r\n| folded\r\n|: |Upgrade: a\r\nConnection: upgrade\r\n".split(
    "|",
  ),
];

/** The requests that the undamaged records of the seeds hold, by the text of the record. */
const known = new Map<string, string>();

export const goreplayFiles: FileKind = {
  name: "GoReplay file",
  seeds: [
    { bytes: sample, accepted: 3, refused: 0 },
    { bytes: Buffer.from(connections.join(mark) + mark), accepted: 3, refused: 2 },
    {
      bytes: Buffer.from(connections.join(mark.replace("\n🐵", "\r\n🐵").replace(/\n$/, "\r\n")) + mark),
      accepted: 3,
      refused: 2,
    },
  ],
  share: 160,
  marks,
  read: async (bytes) => {
    if (known.size === 0) await readKnown();
    const detects = randomOf(bytes)() < 0.3;
    const result = await importFile(bytes, detects ? undefined : "goreplay");
    const { requests, leftOut, mistakes } = result;
    await checkRoundTrips(bytes, requests);
    if (result.format === "goreplay" && bytes[0] !== 0x1f) checkLosses(bytes, result.requests.map(contentOf), requests);
    return { accepted: requests.length, refused: leftOut + mistakes.length };
  },
};

async function readKnown(): Promise<void> {
  for (const { bytes } of goreplayFiles.seeds) {
    for (const piece of bytes.toString("latin1").split(latin1(mark))) {
      if (!/^1 /.test(piece)) continue;
      const { requests, mistakes } = await importFile(Buffer.from(piece + latin1(mark), "latin1"), "goreplay");
      if (requests.length === 1 && mistakes.length === 0) known.set(piece, withoutAnswer(contentOf(requests[0])));
    }
  }
  assertTrue(known.size > 5, "too few records are known");
}

/** Each record whose bytes are undamaged is there, unless it is in the body of another one. */
function checkLosses(
  bytes: Buffer,
  found: readonly string[],
  requests: readonly { readonly body: Uint8Array }[],
): void {
  if (requests.some(({ body }) => Buffer.from(body).includes("🐵🙈🙉"))) return;
  const pieces = bytes.toString("latin1").split(latin1(mark));
  const wanted = pieces.slice(0, -1).flatMap((piece) => known.get(piece) ?? []);
  // An answer may show that a request was an upgrade, so that it is left out.
  if (bytes.includes(" 101")) return;
  assertContains(found.map(withoutAnswer), wanted, "an undamaged record");
}

function withoutAnswer(content: string): string {
  const { primary: _, ...request } = JSON.parse(content);
  return JSON.stringify(request);
}

function latin1(text: string): string {
  return Buffer.from(text).toString("latin1");
}
