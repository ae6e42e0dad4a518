/**
 * Where objects are kept for long: a directory, or a bucket of S3. A name is a path of parts with `/` between them, see
 * `assertName`. Where there is `a`, there cannot be `a/b`: not every archive could keep both. All methods throw
 * `ArchiveError`.
 */
export interface Archive {
  /**
   * Stores an object durably, whole or not at all. What is stored never changes: the same name again with the same bytes
   * does nothing, with other bytes it is a `CONFLICT`.
   */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Undefined where there is no such object (any more). */
  get(name: string): Promise<Uint8Array | undefined>;
  /** In the order of the names, character by character. What comes and goes meanwhile may be in it or not. */
  list(range: ArchiveRange): AsyncIterable<ArchiveEntry>;
  /** What is not there is passed over. */
  delete(names: readonly string[]): Promise<void>;
}

export interface ArchiveRange {
  /** Names begin with it; empty for all. It need not end with a part. */
  readonly prefix: string;
  /** The first name that may be listed. */
  readonly from?: string;
  /** The first name that is not listed any more. */
  readonly until?: string;
  /** Most entries. */
  readonly max?: number;
}

export interface ArchiveEntry {
  readonly name: string;
  readonly bytes: number;
}

/** An archive, opened. */
export interface OpenArchive extends Archive {
  close(): void;
}

export type ArchiveErrorCode = "UNAVAILABLE" | "DENIED" | "CONFLICT" | "TOO_BIG" | "BAD_NAME";

/** Its text says what to do. `UNAVAILABLE` and `DENIED` may pass; the other codes are about the one object. */
export class ArchiveError extends Error {
  readonly code: ArchiveErrorCode;

  constructor(code: ArchiveErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ArchiveError";
    this.code = code;
  }
}

/** Largest object, in bytes: room for the largest pack. */
export const maxObjectBytes = 65 * 1024 * 1024;

// S3 allows 1,024, and a bucket's prefix stands before it.
const maxNameLength = 700;

// A bit less than the 255 that file systems allow.
const maxPartLength = 200;

/** Letters, digits and `.-_=~`, no part empty or with a dot at its beginning: a directory keeps unfinished files there. */
export function isName(name: string): boolean {
  return name.length <= maxNameLength && name.split("/").every(isPart);
}

/** Throws `BAD_NAME`: no name may lead out of the archive. */
export function assertName(name: string): void {
  if (isName(name)) return;
  const text = JSON.stringify(name.slice(0, maxPartLength));
  const allowed = "use letters, digits and .-_=~ in parts separated by /";
  throw new ArchiveError("BAD_NAME", `no object can be named ${text}: ${allowed}`);
}

/** Throws `TOO_BIG`. */
export function assertSize(name: string, bytes: number): void {
  if (bytes <= maxObjectBytes) return;
  throw new ArchiveError("TOO_BIG", `${name} has ${bytes} bytes; at most ${maxObjectBytes} are allowed`);
}

/** The error for other bytes under a name that is taken. */
export function toConflict(name: string): ArchiveError {
  return new ArchiveError("CONFLICT", `${name} exists with other bytes: delete it first, or choose another name`);
}

/** Whether a name is in a range; `max` is left to the caller. */
export function isInRange(name: string, { prefix, from = "", until }: ArchiveRange): boolean {
  return name.startsWith(prefix) && name >= from && (until === undefined || name < until);
}

function isPart(part: string): boolean {
  return part.length <= maxPartLength && /^[A-Za-z0-9\-_=~][A-Za-z0-9.\-_=~]*$/.test(part);
}
