import type { ByteReader } from "../../relay/pack/byte-reader.ts";
import { statusCode } from "./frame.ts";
import { type DecodedValue, decodeTypedData } from "./typed-data.ts";

/** HAProxy's offer in its HELLO, or the reason to refuse it. */
export type HaproxyHello =
  | { readonly kind: "offer"; readonly maxFrameBytes: number; readonly healthCheck: boolean; readonly engineId: string }
  | { readonly kind: "refused"; readonly code: number; readonly text: string };

export interface HaproxyDisconnect {
  readonly code: number;
  readonly text: string;
}

// SPOE.txt 3.2.5: HAProxy accepts no smaller answer, so it cannot offer less.
const minFrameSize = 256;
// HAProxy's own limit. The reason is logged.
const maxReasonBytes = 255;

/**
 * Reads the payload of HAPROXY-HELLO. Refuses it only if the version or the frame size is missing or wrong: a health
 * check sends neither an engine id nor capabilities, and unknown keys belong to later versions. Throws `DecodeError`.
 */
export function decodeHaproxyHello(reader: ByteReader): HaproxyHello {
  const items = decodeItems(reader);
  const versions = items.get("supported-versions");
  if (typeof versions !== "string") {
    return refused(statusCode.noVersion, "HAPROXY-HELLO has no supported-versions");
  }
  if (!versions.split(",").some((version) => version.trim() === "2.0")) {
    return refused(
      statusCode.badVersion,
      `spoa-relay speaks SPOP 2.0, HAProxy offers ${versions}: use HAProxy 2.0 or newer`,
    );
  }
  const size = items.get("max-frame-size");
  if (typeof size !== "bigint") return refused(statusCode.noMaxFrameSize, "HAPROXY-HELLO has no max-frame-size");
  if (size < minFrameSize || size > 0xffff_ffffn) {
    return refused(
      statusCode.badMaxFrameSize,
      `max-frame-size ${size} is not between ${minFrameSize} and 2^32: correct it in spoe-agent`,
    );
  }
  const engineId = items.get("engine-id");
  return {
    kind: "offer",
    maxFrameBytes: Number(size),
    healthCheck: items.get("healthcheck") === true,
    engineId: typeof engineId === "string" ? engineId : "",
  };
}

/** Reads the payload of HAPROXY-DISCONNECT. Throws `DecodeError`. */
export function decodeHaproxyDisconnect(reader: ByteReader): HaproxyDisconnect {
  const items = decodeItems(reader);
  const code = items.get("status-code");
  const text = items.get("message");
  return {
    code: typeof code === "bigint" ? Number(code) : statusCode.unknown,
    text: typeof text === "string" ? text.slice(0, maxReasonBytes) : "",
  };
}

/**
 * Recognises a protocol other than SPOP by its first four bytes, which were read as the length of a HELLO. Returns a
 * text for the operator, or undefined for an unknown protocol.
 */
export function helloMistake(announcedBytes: number): string | undefined {
  if (announcedBytes >>> 16 === 0x1603) {
    return "this is a TLS ClientHello, but the agent listens without TLS: remove ssl from the server line in HAProxy, or set agent.tls";
  }
  const first = Buffer.alloc(4);
  first.writeUInt32BE(announcedBytes);
  const text = first.toString("latin1");
  if (httpMethods.includes(text)) {
    return "this is an HTTP request, but the agent speaks SPOP: the backend in HAProxy needs mode tcp (or mode spop), and only filter spoe may use it";
  }
  if (text === "PROX" || text === "\r\n\r\n") {
    return "this is a PROXY protocol header: remove send-proxy from the server line in HAProxy";
  }
  return undefined;
}

// The first four bytes of each method, which SPOP would read as a frame length of more than a gigabyte.
const httpMethods = ["GET ", "POST", "PUT ", "HEAD", "OPTI", "DELE", "PATC", "CONN", "TRAC", "PRI "];

function refused(code: number, text: string): HaproxyHello {
  return { kind: "refused", code, text };
}

function decodeItems(reader: ByteReader): Map<string, DecodedValue> {
  const items = new Map<string, DecodedValue>();
  while (!reader.done) items.set(reader.latin1(), decodeTypedData(reader));
  return items;
}
