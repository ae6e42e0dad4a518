import { createHash } from "node:crypto";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { DecodeError } from "../pack/decode-error.ts";
import { encodeHeaderBlock } from "../pack/header-block.ts";
import { decodePack, type Pack } from "../pack/pack.ts";
import { emptySpan, type Span } from "../pack/span.ts";
import { draftBytes, PackWriter, type RequestDraft } from "../pack/writer.ts";
import { maxObjectSpanMs } from "./capture-object.ts";

export interface PackNumbering {
  /** Agent name in the packs. */
  readonly agent: string;
  /** Sequence number of the first pack. */
  readonly sequence: number;
}

// Well below the limits of a pack, and similar to the packs of agents.
const maxRequests = 1_000;
const maxBytes = 1024 * 1024;

/**
 * Puts requests into packs, ordered by capture time. A pack's id is a hash of its content, so the same requests with
 * the same numbering make the same packs.
 */
export function toPacks(requests: readonly CapturedRequest[], { agent, sequence }: PackNumbering): readonly Pack[] {
  const sorted = requests.toSorted((a, b) => a.capturedAtMs - b.capturedAtMs || a.index - b.index);
  const groups: { drafts: RequestDraft[]; bytes: number }[] = [];
  for (const request of sorted) {
    const draft = toDraft(request);
    const bytes = draftBytes(draft);
    const group = groups.at(-1);
    if (group && group.drafts.length < maxRequests && group.bytes + bytes <= maxBytes && isNear(group.drafts, draft)) {
      group.drafts.push(draft);
      group.bytes += bytes;
    } else groups.push({ drafts: [draft], bytes });
  }
  return groups.map(({ drafts, bytes }, i) => writePack(drafts, bytes, { agent, sequence: sequence + i }));
}

function isNear([first]: readonly RequestDraft[], { capturedAtMs }: RequestDraft): boolean {
  return capturedAtMs - first.capturedAtMs <= maxObjectSpanMs;
}

function writePack(drafts: readonly RequestDraft[], bytes: number, { agent, sequence }: PackNumbering): Pack {
  const write = (id: Uint8Array) => {
    const buffer = Buffer.allocUnsafe(PackWriter.headerBytes(agent) + bytes);
    const writer = new PackWriter(buffer, { id, agent, sequence });
    for (const draft of drafts) {
      if (!writer.append(draft)) throw new RangeError("the requests do not fit into the buffer of their pack");
    }
    return writer.finish();
  };
  const content = createHash("sha256")
    .update(write(new Uint8Array(16)))
    .digest();
  const pack = decodePack(write(content.subarray(0, 16)));
  if (pack instanceof DecodeError) throw pack;
  return pack;
}

function toDraft({ primary, ...request }: CapturedRequest): RequestDraft {
  return {
    capturedAtMs: request.capturedAtMs,
    bodyState: request.bodyState,
    id: toSpan(request.id),
    method: toSpan(request.method),
    path: toSpan(request.path),
    version: toSpan(request.version),
    src: toSpan(request.src),
    srcIsAddress: false,
    headers: toSpan(encodeHeaderBlock(request.headers)),
    body: toSpan(request.body),
    hasPrimary: primary !== undefined,
    primaryStatus: primary?.status ?? -1,
    primaryTimeMs: primary?.timeMs ?? -1,
    primaryBytes: primary?.bytes ?? -1,
    primaryDigest: toSpan(primary?.digest ?? ""),
    hasPrimaryHeaders: primary?.headers !== undefined,
    primaryHeaders: primary?.headers ? toSpan(encodeHeaderBlock(primary.headers)) : emptySpan(),
  };
}

/** Strings have one byte per character. */
function toSpan(content: string | Uint8Array): Span {
  const bytes = typeof content === "string" ? Buffer.from(content, "latin1") : content;
  return { bytes, start: 0, end: bytes.length };
}
