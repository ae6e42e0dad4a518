import { crc32, zstdCompressSync } from "node:zlib";
import {
  decodeStoredPack,
  openCaptureObject,
  sealCaptureObject,
  toStoredPack,
} from "../../../relay/capture/capture-object.ts";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { announcedBytes, openPack, sealPack } from "../../../relay/pack/envelope.ts";
import { decodeHeaderBlock, encodeHeaderBlock } from "../../../relay/pack/header-block.ts";
import { decodePack, encodeShare, type Pack, type PackedRequest } from "../../../relay/pack/pack.ts";
import { repack } from "../../../relay/pack/repack.ts";
import { toHttpText, toJsonLine } from "../../../relay/pack/request-line.ts";
import { formatRequest } from "../../../relay/pack/request-text.ts";
import { prepareOutbound } from "../../../relay/replay/outbound.ts";
import { whyUnreplayable } from "../../../relay/rules/unreplayable.ts";
import { packContent, type RequestParts } from "../../support/data/captured-requests.ts";
import { target } from "../../support/data/targets.ts";
import { assertSame, assertTrue, type FileKind, type Verdict } from "./file-kind.ts";
import { randomOf } from "./import-checks.ts";

const marks = [
  "SRPK",
  "SRCO",
  "\0\0",
  "\xff\xff\xff\xff",
  "\x01\0",
  "(\xb5/\xfd",
  "host",
  "x-tag",
  "GET",
  "/",
  "\x7f",
  "\x10",
];
const refused: Verdict = { accepted: 0, refused: 1 };
const someRequests: readonly Partial<RequestParts>[] = [
  {},
  { id: "", method: "GET", src: Uint8Array.from({ length: 16 }, (_, i) => i), body: Buffer.alloc(0), version: "" },
  {
    src: "",
    headers: [],
    bodyState: "truncated",
    primary: { status: 200, timeMs: 4, bytes: 0, digest: "d", headers: ["age", ""] },
  },
  { path: `/${"a".repeat(300)}`, bodyState: "omitted", primary: { status: 0 } },
];
const whole = packContent({ requests: someRequests });

/** The bytes of a pack, before they are compressed. */
export const packContents: FileKind = {
  name: "pack",
  seeds: [
    { bytes: whole, accepted: 4, refused: 0 },
    {
      bytes: packContent({ requests: [{ body: Buffer.alloc(500, "body") }], sequence: 2 ** 40 }),
      accepted: 1,
      refused: 0,
    },
    { bytes: packContent({ requests: [] }), accepted: 0, refused: 0 },
    // Lies: an address of five bytes, a header without a name, a time that no Date can hold.
    { bytes: packContent({ requests: [{ src: Buffer.from("12345") }] }), ...refused },
    { bytes: packContent({ requests: [{ headers: ["", "a"] }] }), ...refused },
    { bytes: packContent({ requests: [{}, { capturedAtMs: 9e15 }] }), ...refused },
  ],
  share: 150,
  marks,
  read: (bytes) => {
    const pack = decodePack(bytes);
    if (pack instanceof DecodeError) return checkError(pack, bytes.length);
    checkPack(pack);
    return { accepted: pack.requests.length, refused: 0 };
  },
};

/** Packs as in a queue, also with other frames of zstd than ours. */
export const sealedPacks: FileKind = {
  name: "sealed pack",
  seeds: [
    { bytes: sealPack(whole), accepted: 4, refused: 0 },
    { bytes: sealPack(packContent()), accepted: 1, refused: 0 },
    // Only the first frame counts, so the length is wrong.
    {
      bytes: envelope(
        1,
        whole.length,
        Buffer.concat([zstdCompressSync(whole.subarray(0, 50)), zstdCompressSync(whole.subarray(50))]),
      ),
      ...refused,
    },
    // Much from little.
    { bytes: envelope(1, 1024 * 1024, zstdCompressSync(Buffer.alloc(1024 * 1024))), ...refused },
  ],
  share: 80,
  marks,
  mend: (bytes) => {
    if (bytes.length < 14) return bytes;
    const mended = Buffer.from(bytes);
    mended.writeUInt32BE(crc32(mended.subarray(14)), 10);
    return mended;
  },
  expandedBytes: announcedBytes,
  read: (bytes) => {
    const content = openPack(bytes);
    if (content instanceof DecodeError) return checkError(content, bytes.length);
    assertTrue(content.length === bytes.readUInt32BE(6), "a pack has another length than it announces");
    // To compress takes most of the time.
    if (randomOf(bytes)() < 0.2) {
      const again = openPack(sealPack(content));
      assertTrue(
        !(again instanceof DecodeError) && Buffer.compare(again, content) === 0,
        "a pack is not what was sealed",
      );
    }
    return packContents.read(Buffer.from(content));
  },
};

/** Objects of a capture, before they are compressed. */
export const captureObjects: FileKind = {
  name: "capture object",
  seeds: [
    { bytes: objectOf(whole), accepted: 4, refused: 0 },
    { bytes: objectOf(whole, packContent()), accepted: 5, refused: 0 },
  ],
  share: 80,
  marks,
  read: (bytes) => {
    const packs = openCaptureObject(envelope(0, bytes.length, bytes));
    if (packs instanceof DecodeError) return checkError(packs, bytes.length);
    if (packs.length > 0) {
      assertSame(openCaptureObject(sealCaptureObject(packs)), packs, "an object that is written again");
    }
    let [accepted, bad] = [0, 0];
    for (const stored of packs) {
      const pack = decodeStoredPack(stored);
      if (pack instanceof DecodeError) bad += checkError(pack, bytes.length).refused;
      else accepted += pack.requests.length;
    }
    return { accepted, refused: bad };
  },
};

/** Headers as HAProxy and packs write them. */
export const headerBlocks: FileKind = {
  name: "header block",
  seeds: [
    { bytes: encodeHeaderBlock(["host", "a", "x-tag", "", "cookie", "c".repeat(300)]), accepted: 3, refused: 0 },
    { bytes: encodeHeaderBlock(["\xff", "\0", "a", "b\r\n"]), accepted: 2, refused: 0 },
  ],
  share: 50,
  marks,
  read: (bytes) => {
    let headers: string[];
    try {
      headers = decodeHeaderBlock(bytes);
    } catch (error) {
      if (error instanceof DecodeError) return checkError(error, bytes.length);
      throw error;
    }
    assertSame(decodeHeaderBlock(encodeHeaderBlock(headers)), headers, "headers that are encoded again");
    return { accepted: headers.length / 2, refused: 0 };
  },
};

/** An error names a place within the bytes. */
export function checkError({ code, offset, message }: DecodeError, bytes: number): Verdict {
  assertTrue(/^[A-Z_]+$/.test(code) && message.includes(code), "an error has no code");
  const isWithin =
    offset === undefined ? code === "NO_PACK" : Number.isInteger(offset) && offset >= 0 && offset <= bytes;
  assertTrue(isWithin, () => `an error is at byte ${offset} of ${bytes}: ${message}`);
  return refused;
}

/** What is done with a decoded pack does not fail, and keeps its requests. */
export function checkPack(pack: Pack): void {
  const expected = pack.requests.map(toParts);
  const shared = decodePack(encodeShare(pack, pack.requests, pack.attempt));
  assertTrue(!(shared instanceof DecodeError), () => `a share cannot be decoded: ${shared}`);
  assertSame(shared.requests.map(toParts), expected, "the requests of a share");
  assertSame([shared.id, shared.agent, shared.sequence], [pack.id, pack.agent, pack.sequence], "the origin of a share");
  for (const request of pack.requests) {
    formatRequest(request);
    toJsonLine(request, { secrets: true });
    toHttpText(request, { secrets: false });
    whyUnreplayable(request);
    prepareOutbound(target(), request, 1);
  }
  if (pack.requests.length === 0) return;
  const sorted = pack.requests.toSorted((a, b) => a.capturedAtMs - b.capturedAtMs || a.index - b.index);
  // Captures have no later times.
  if (sorted[sorted.length - 1].capturedAtMs >= 2 ** 48) return;
  const renumbered = sorted.map((request, index) => ({ ...toParts(request), index }));
  const identity = { id: Buffer.alloc(16, 7), agent: pack.agent, sequence: Math.min(pack.sequence, 2 ** 53 - 1) };
  const again = repack(identity, sorted);
  const copy = decodePack(encodeShare(again, again.requests, 0));
  assertTrue(!(copy instanceof DecodeError), () => `a pack of the same requests cannot be decoded: ${copy}`);
  assertSame(copy.requests.map(toParts), renumbered, "the requests in another pack");
  const fresh = toPacks(sorted, { agent: "import", sequence: 1 }).flatMap(({ requests }) => requests);
  assertSame(fresh.map(toParts).map(withoutIndex), renumbered.map(withoutIndex), "the requests in new packs");
}

/** An object with these packs, not compressed. */
function objectOf(...contents: readonly Buffer[]): Buffer {
  const packs = contents.map((content) => {
    const pack = decodePack(content);
    if (pack instanceof DecodeError) throw pack;
    return toStoredPack(content, pack.requests);
  });
  const opened = openPack(sealCaptureObject(packs));
  if (opened instanceof DecodeError) throw opened;
  return Buffer.from(opened);
}

/** "SRPK" · version · compression · bytes of the content · CRC-32 of the payload · payload. */
function envelope(compression: number, bytes: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(14);
  head.write("SRPK");
  head[4] = 1;
  head[5] = compression;
  head.writeUInt32BE(bytes, 6);
  head.writeUInt32BE(crc32(payload), 10);
  return Buffer.concat([head, payload]);
}

function toParts({ record: _, ...request }: PackedRequest) {
  return request;
}

function withoutIndex({ index: _, ...request }: { readonly index: number }): object {
  return request;
}
