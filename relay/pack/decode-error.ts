export type DecodeErrorCode =
  | "TRUNCATED"
  | "TOO_LONG"
  | "BAD_MAGIC"
  | "BAD_VERSION"
  | "BAD_CHECKSUM"
  | "BAD_COMPRESSION"
  | "BAD_COUNT"
  | "BAD_VALUE"
  | "UNKNOWN_TYPE"
  | "TRAILING_BYTES";

/** Bytes that violate their format. `offset` counts from the first byte of the decoder's input. */
export class DecodeError extends Error {
  readonly code: DecodeErrorCode;
  readonly offset: number;

  constructor(code: DecodeErrorCode, offset: number, reason: string, options?: ErrorOptions) {
    super(`${reason} at byte ${offset} (${code})`, options);
    this.name = "DecodeError";
    this.code = code;
    this.offset = offset;
  }
}
