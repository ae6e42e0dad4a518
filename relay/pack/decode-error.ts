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

/** Bytes that do not follow their format. `offset` counts from the first byte that was given to the decoder. */
export class DecodeError extends Error {
  readonly code: DecodeErrorCode;
  readonly offset: number;

  constructor(code: DecodeErrorCode, offset: number, what: string, options?: ErrorOptions) {
    super(`${what} at byte ${offset} (${code})`, options);
    this.name = "DecodeError";
    this.code = code;
    this.offset = offset;
  }
}
