import type { BodyState, CapturedRequest, PrimaryOutcome } from "../../../relay/pack/captured-request.ts";
import type { Span } from "../../../relay/pack/span.ts";
import { PackWriter, type RequestDraft } from "../../../relay/pack/writer.ts";
import { plain } from "../spop/spop-frames.ts";

/** The parts of a draft; strings have one byte for each character. */
export interface RequestParts {
  readonly capturedAtMs: number;
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly version: string;
  /** Text, or the bytes of an address. */
  readonly src: string | Uint8Array;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly bodyState: BodyState;
  readonly primary?: PrimaryOutcome;
}

const defaults: RequestParts = {
  capturedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
  id: "4b1d-1",
  method: "POST",
  path: "/api/v1/orders?dry=1",
  version: "1.1",
  src: Uint8Array.of(192, 0, 2, 1),
  headers: ["host", "shop.example", "x-tag", "a", "x-tag", "b", "x-empty", ""],
  body: Buffer.from('{"item":"tea"}'),
  bodyState: "complete",
};

function requestParts(changes: Partial<RequestParts> = {}): RequestParts {
  return { ...defaults, ...changes };
}

/** A draft whose spans are in the middle of other bytes, as in a socket's chunk. */
export function requestDraft(changes: Partial<RequestParts> = {}): RequestDraft {
  const parts = requestParts(changes);
  const { primary } = parts;
  return {
    capturedAtMs: parts.capturedAtMs,
    bodyState: parts.bodyState,
    id: span(parts.id),
    method: span(parts.method),
    path: span(parts.path),
    version: span(parts.version),
    src: span(parts.src),
    srcIsAddress: typeof parts.src !== "string",
    headers: span(Buffer.concat(parts.headers.map(plain))),
    body: span(parts.body),
    hasPrimary: primary !== undefined,
    primaryStatus: primary?.status ?? -1,
    primaryTimeMs: primary?.timeMs ?? -1,
    primaryBytes: primary?.bytes ?? -1,
    primaryDigest: span(primary?.digest ?? ""),
    hasPrimaryHeaders: primary?.headers !== undefined,
    primaryHeaders: span(Buffer.concat((primary?.headers ?? []).map(plain))),
  };
}

export const packId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

export interface PackFields {
  readonly agent?: string;
  readonly sequence?: number;
  readonly requests?: readonly Partial<RequestParts>[];
}

/** The content of a pack that holds these requests. */
export function packContent({ agent = "edge-1~0badcafe", sequence = 7, requests = [{}] }: PackFields = {}): Buffer {
  const writer = new PackWriter(Buffer.alloc(1024 * 1024), { id: packId, agent, sequence });
  for (const changes of requests) if (!writer.append(requestDraft(changes))) throw new Error("the pack is full");
  return Buffer.from(writer.finish());
}

/** The expected decoded request. */
export function expectedRequest(changes: Partial<RequestParts>, index: number): CapturedRequest {
  const { src, id, body, primary, ...parts } = requestParts(changes);
  return {
    ...parts,
    id: id === "" ? `${packId.toString("hex")}-${index}` : id,
    index,
    src: typeof src === "string" ? src : [...src].join("."),
    body: Uint8Array.from(body),
    ...(primary && { primary }),
  };
}

/** A decoded request that can be compared with the expected one: without its record, the body as plain bytes. */
export function comparable(request: CapturedRequest & { readonly record?: Uint8Array }): CapturedRequest {
  const { record: _record, body, ...rest } = request;
  return { ...rest, body: Uint8Array.from(body) };
}

function span(content: string | Uint8Array): Span {
  const bytes = typeof content === "string" ? Buffer.from(content, "latin1") : content;
  const padded = Buffer.concat([Buffer.from("<<<"), bytes, Buffer.from(">>>")]);
  return { bytes: padded, start: 3, end: 3 + bytes.length };
}
