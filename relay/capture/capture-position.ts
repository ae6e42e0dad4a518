/**
 * Where a request stands in a capture, whatever objects hold it: requests are ordered by their capture time, those of the
 * same millisecond by the pack's sequence number, its id and the index in it. Of two requests at one position one is a
 * copy.
 */
export interface CapturePosition {
  readonly capturedAtMs: number;
  readonly sequence: number;
  /** 32 hex digits. */
  readonly packId: string;
  readonly index: number;
}

/** Negative where `a` stands before `b`, 0 where they are the same. */
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
