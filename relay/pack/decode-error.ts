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
  | "TRAILING_BYTES"
  | "NO_PACK";

/** Bytes that violate their format. `offset` counts from the first byte of the decoder's input; undefined if there are no bytes. */
export class DecodeError extends Error {
  readonly code: DecodeErrorCode;
  readonly offset: number | undefined;

  constructor(code: DecodeErrorCode, offset: number | undefined, reason: string, options?: ErrorOptions) {
    super(`${reason}${offset === undefined ? "" : ` at byte ${offset}`} (${code})`, options);
    this.name = "DecodeError";
    this.code = code;
    this.offset = offset;
  }
}
