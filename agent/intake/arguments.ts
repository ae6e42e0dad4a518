/** The meaning of a message's argument. */
export type ArgumentRole =
  | "method"
  | "path"
  | "url"
  | "query"
  | "version"
  | "headers"
  | "body"
  | "bodyBytes"
  | "whole"
  | "id"
  | "src"
  | "status"
  | "timeMs"
  | "responseHeaders"
  | "responseBytes"
  | "responseDigest";

/**
 * Every known argument name: those of spoa-mirror, so that its configurations work unchanged, and plain ones. An
 * argument with the role `path` may lack the query; one with the role `url` includes it, and is used if both are sent.
 */
const roles: Readonly<Record<string, ArgumentRole>> = {
  arg_method: "method",
  arg_path: "path",
  arg_ver: "version",
  arg_hdrs: "headers",
  arg_body: "body",
  method: "method",
  path: "path",
  pathq: "url",
  uri: "url",
  url: "url",
  query: "query",
  ver: "version",
  version: "version",
  hdrs: "headers",
  headers: "headers",
  body: "body",
  body_len: "bodyBytes",
  body_size: "bodyBytes",
  whole: "whole",
  id: "id",
  src: "src",
  status: "status",
  time: "timeMs",
  res_hdrs: "responseHeaders",
  res_bytes: "responseBytes",
  res_digest: "responseDigest",
};

/** Names by their length: they are compared byte by byte, without a string for each. */
type NamesByLength<Value> = Map<number, (readonly [name: Uint8Array, value: Value])[]>;

const known: NamesByLength<ArgumentRole> = new Map();
for (const [name, role] of Object.entries(roles)) addName(known, Buffer.from(name, "latin1"), role);

const rememberedPositions = 32;
// Names come from the peer: without a limit, a hostile peer could fill the memory.
const maxUnknown = 100;
// Longer than every known name. Of a longer name, only the first 64 bytes are compared and reported.
const maxNameBytes = 64;

/**
 * Finds the role of an argument by the bytes of its name. HAProxy sends a message's arguments in the same order every
 * time, so the last name at a position is compared first. Only names that come for the first time need an allocation.
 */
export class ArgumentNames {
  readonly #names: (Uint8Array | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #roles: (ArgumentRole | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #onUnknown: (name: string) => void;
  readonly #unknown: NamesByLength<undefined> = new Map();
  #unknownCount = 0;

  /** @param onUnknown receives each unknown name once, at most 100 names */
  constructor(onUnknown: (name: string) => void) {
    this.#onUnknown = onUnknown;
  }

  roleAt(position: number, bytes: Uint8Array, start: number, end: number): ArgumentRole | undefined {
    const slot = position % rememberedPositions;
    const last = this.#names[slot];
    if (last !== undefined && sameBytes(last, bytes, start, end)) return this.#roles[slot];
    const entry = findName(known, bytes, start, end) ?? this.#findUnknown(bytes, start, end);
    if (entry === undefined) return undefined;
    this.#names[slot] = entry[0];
    this.#roles[slot] = entry[1];
    return entry[1];
  }

  /** Reports the name if it is new. Undefined if there are too many unknown names to remember one more. */
  #findUnknown(bytes: Uint8Array, start: number, end: number): readonly [Uint8Array, undefined] | undefined {
    const nameEnd = Math.min(end, start + maxNameBytes);
    const found = findName(this.#unknown, bytes, start, nameEnd);
    if (found !== undefined) return found;
    if (this.#unknownCount >= maxUnknown) return undefined;
    this.#unknownCount++;
    // Not from Node's pool: a few bytes would keep 64 KiB of it.
    const name = Buffer.allocUnsafeSlow(nameEnd - start);
    name.set(bytes.subarray(start, nameEnd));
    this.#onUnknown(name.toString("latin1"));
    return addName(this.#unknown, name, undefined);
  }
}

function addName<Value>(names: NamesByLength<Value>, name: Uint8Array, value: Value): readonly [Uint8Array, Value] {
  const entry = [name, value] as const;
  names.set(name.length, [...(names.get(name.length) ?? []), entry]);
  return entry;
}

function findName<Value>(
  names: NamesByLength<Value>,
  bytes: Uint8Array,
  start: number,
  end: number,
): readonly [Uint8Array, Value] | undefined {
  const candidates = names.get(end - start);
  if (candidates === undefined) return undefined;
  for (let i = 0; i < candidates.length; i++) if (sameBytes(candidates[i][0], bytes, start, end)) return candidates[i];
  return undefined;
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
