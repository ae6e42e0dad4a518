// Computes the expected answers of a session from SPOE.txt, without code of the session.

const fin = 1;
const abort = 2;

/** A complete NOTIFY, which must be acknowledged. */
interface Complete {
  /** The bytes of stream and frame identifier. */
  readonly ids: string;
  /** The index of the frame that completes it. */
  readonly frame: number;
  /** Start and end offset of each piece of its messages. */
  readonly pieces: readonly number[];
}

/** The NOTIFYs that the first `frameCount` frames of a stream complete, in order. */
export function completeNotifies(stream: Buffer, frameCount: number): Complete[] {
  const complete: Complete[] = [];
  const begun = new Map<string, number[]>();
  let at = 0;
  for (let frame = 0; frame < frameCount; frame++) {
    const end = at + 4 + stream.readUInt32BE(at);
    const type = stream[at + 4];
    const flags = stream[at + 8];
    const idsEnd = endOfVarint(stream, endOfVarint(stream, at + 9, end), end);
    if ((type === 3 || type === 0) && end - at >= 11 && idsEnd <= end) {
      const ids = stream.toString("latin1", at + 9, idsEnd);
      const before = type === 0 ? begun.get(ids) : [];
      const pieces = before && [...before, idsEnd, end];
      const aborted = (flags & abort) !== 0;
      if ((flags & fin) !== 0 && !aborted && pieces) complete.push({ ids, frame, pieces });
      // A later fragment may have ABORT without FIN and ends its NOTIFY; on the first frame ABORT without FIN has no effect.
      if ((flags & fin) === 0 && (type === 3 || !aborted) && pieces) begun.set(ids, pieces);
      else if (type === 0) begun.delete(ids);
    }
    at = end;
  }
  return complete;
}

/** True if the payload is exactly the messages of the NOTIFY. */
export function isPayloadOf(payload: Buffer, { pieces }: Complete, stream: Buffer): boolean {
  let at = 0;
  for (let i = 0; i < pieces.length; i += 2) {
    const bytes = pieces[i + 1] - pieces[i];
    if (payload.compare(stream, pieces[i], pieces[i + 1], at, Math.min(at + bytes, payload.length)) !== 0) return false;
    at += bytes;
  }
  return at === payload.length;
}

export interface Answers {
  /** The bytes of stream and frame identifier of each ACK. */
  readonly acks: string[];
  readonly hellos: number;
  readonly disconnects: number;
}

const noop = "\x02\x02\x02\x01_";

/** Decodes the bytes that the session wrote. Throws if HAProxy could not decode them. */
export function readAnswers(bytes: Buffer): Answers {
  const acks: string[] = [];
  let hellos = 0;
  let disconnects = 0;
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new Error("an answer is cut off");
    if (disconnects > 0) throw new Error("something follows the DISCONNECT");
    if (bytes.readUInt32BE(at + 5) !== fin) throw new Error("the flags of an answer are not FIN");
    const type = bytes[at + 4];
    if (type === 103) {
      const idsEnd = endOfVarint(bytes, endOfVarint(bytes, at + 9, end), end);
      if (bytes.toString("latin1", idsEnd, end) !== noop) throw new Error("an ACK has another action than the no-op");
      acks.push(bytes.toString("latin1", at + 9, idsEnd));
    } else if (type === 101) {
      if (at > 0) throw new Error("the HELLO is not the first frame");
      hellos++;
    } else if (type === 102) {
      disconnects++;
    } else {
      throw new Error(`an answer has the unknown type ${type}`);
    }
    at = end;
  }
  return { acks, hellos, disconnects };
}

/** The offset after the integer; Infinity if it has more than 10 bytes or is cut off. */
function endOfVarint(bytes: Buffer, start: number, end: number): number {
  if (start >= end) return Number.POSITIVE_INFINITY;
  if (bytes[start] < 240) return start + 1;
  for (let at = start + 1; at < end && at < start + 10; at++) if (bytes[at] < 128) return at + 1;
  return Number.POSITIVE_INFINITY;
}
