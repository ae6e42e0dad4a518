/** A range of bytes in a larger buffer. Mutable, because the spans of a draft are reused for every request. */
export interface Span {
  bytes: Uint8Array;
  start: number;
  end: number;
}

const noBytes = new Uint8Array();

export function emptySpan(): Span {
  return { bytes: noBytes, start: 0, end: 0 };
}

export function clearSpan(span: Span): void {
  span.bytes = noBytes;
  span.start = 0;
  span.end = 0;
}

export function copySpan(target: Span, source: Span): void {
  target.bytes = source.bytes;
  target.start = source.start;
  target.end = source.end;
}

export function isEmpty(span: Span): boolean {
  return span.end === span.start;
}

/** Decodes the bytes as text with one character per byte. */
export function spanText(span: Span): string {
  return Buffer.from(span.bytes.subarray(span.start, span.end)).toString("latin1");
}
