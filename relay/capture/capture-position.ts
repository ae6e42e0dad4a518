/**
 * Position of a request in a capture, independent of the object that holds it. Requests are ordered by capture time,
 * then by their pack's sequence number, its id and their index in it. Two requests at the same position are copies.
 */
export interface CapturePosition {
  readonly capturedAtMs: number;
  readonly sequence: number;
  /** 32 hex digits. */
  readonly packId: string;
  readonly index: number;
}

/** Negative if `a` comes before `b`, 0 if they are the same. */
export function comparePositions(a: CapturePosition, b: CapturePosition): number {
  if (a.capturedAtMs !== b.capturedAtMs) return a.capturedAtMs - b.capturedAtMs;
  if (a.sequence !== b.sequence) return a.sequence < b.sequence ? -1 : 1;
  if (a.packId !== b.packId) return a.packId < b.packId ? -1 : 1;
  return a.index - b.index;
}

/** A position before all requests of a millisecond. */
export function startOf(capturedAtMs: number): CapturePosition {
  return { capturedAtMs, sequence: -1, packId: "", index: -1 };
}
