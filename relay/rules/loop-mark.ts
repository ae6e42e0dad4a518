import { createHmac, timingSafeEqual } from "node:crypto";

/** How replayed requests are marked, so that agents do not mirror them again. */
export interface LoopGuard {
  /** Name of the header that carries the mark, in lower case. */
  readonly header: string;
  /** The first key signs marks, and all of them verify. Without keys the header alone is the mark: anybody can write it. */
  readonly keys: readonly string[];
}

export const idHeader = "x-mirror-id";

export const unsignedGuard: LoopGuard = { header: idHeader, keys: [] };

// 128 bits in base64url.
const signatureChars = 22;
// No longer value is worth its time: HAProxy's unique ids are far shorter.
const maxMarkBytes = 4_096;
const dot = 0x2e;

/** The mark of a replayed request: its id, and with a key `ID.SIGNATURE`. */
export function createLoopMark({ keys: [key] }: LoopGuard, id: string): string {
  if (key === undefined) return id;
  // Whoever receives a header drops the blanks in front of its value.
  const bare = id.replace(/^[ \t]+/, "");
  return `${bare}.${signatureOf(key, Buffer.from(bare, "latin1"))}`;
}

/** Whether a header value is the mark of one of our replays. Takes the same time for all signatures of a length. */
export function isLoopMark({ keys }: LoopGuard, bytes: Uint8Array, start: number, end: number): boolean {
  if (keys.length === 0) return true;
  const signatureAt = end - signatureChars;
  if (signatureAt <= start || end - start > maxMarkBytes || bytes[signatureAt - 1] !== dot) return false;
  const signature = bytes.subarray(signatureAt, end);
  const id = bytes.subarray(start, signatureAt - 1);
  return keys.some((key) => timingSafeEqual(Buffer.from(signatureOf(key, id), "latin1"), signature));
}

function signatureOf(key: string, id: Uint8Array): string {
  return createHmac("sha256", key).update(id).digest("base64url").slice(0, signatureChars);
}
