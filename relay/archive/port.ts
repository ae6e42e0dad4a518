/**
 * Long-term storage of objects: a directory or an S3 bucket. A name is a path of parts separated by `/`, see
 * `assertName`. If there is an object `a`, there cannot be an object `a/b`: a directory cannot hold both. All methods
 * throw `ArchiveError`.
 */
export interface Archive {
  /**
   * Stores an object durably, completely or not at all. Never overwrites an existing object: the same bytes again do
   * nothing, other bytes throw `CONFLICT`.
   */
  put(name: string, bytes: Uint8Array): Promise<PutResult>;
  /** Undefined if there is no such object. */
  get(name: string): Promise<Uint8Array | undefined>;
  /** Yields entries sorted by name, character by character. May or may not include objects put or deleted meanwhile. */
  list(range: ArchiveRange): AsyncIterable<ArchiveEntry>;
  /** Ignores names that do not exist. */
  delete(names: readonly string[]): Promise<void>;
}

/** `existing` if the same object was there already. */
export type PutResult = "stored" | "existing";

export interface ArchiveRange {
  /** Start of the names to list; empty for all. May end in the middle of a part. */
  readonly prefix: string;
  /** Lowest name to list. */
  readonly from?: string;
  /** Lowest name that is not listed any more. */
  readonly until?: string;
  /** Maximum number of entries. */
  readonly max?: number;
}

export interface ArchiveEntry {
  readonly name: string;
  readonly bytes: number;
}

export interface OpenArchive extends Archive {
  close(): void;
}

export type ArchiveErrorCode = "UNAVAILABLE" | "DENIED" | "CONFLICT" | "TOO_BIG" | "BAD_NAME";

/**
 * The message says what to do. `UNAVAILABLE` and `DENIED` may be temporary; the other codes concern only one object.
 */
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

// S3 allows 1,024, including the prefix in the bucket.
const maxNameLength = 700;

// File systems allow 255.
const maxPartLength = 200;

/**
 * Letters, digits and `.-_=~` in non-empty parts that do not begin with a dot: `DirectoryArchive` uses such names
 * itself.
 */
export function isName(name: string): boolean {
  return name.length <= maxNameLength && name.split("/").every(isPart);
}

/** Throws `BAD_NAME` unless `isName`: no name may lead out of the archive. */
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

/** The error for a put of other bytes under an existing name. */
export function toConflict(name: string): ArchiveError {
  return new ArchiveError("CONFLICT", `${name} exists with other bytes: delete it first, or choose another name`);
}

/** Whether a name is in a range; ignores `max`. */
export function isInRange(name: string, { prefix, from = "", until }: ArchiveRange): boolean {
  return name.startsWith(prefix) && name >= from && (until === undefined || name < until);
}

function isPart(part: string): boolean {
  return part.length <= maxPartLength && /^[A-Za-z0-9\-_=~][A-Za-z0-9.\-_=~]*$/.test(part);
}
