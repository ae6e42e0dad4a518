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

const rolesByLength = new Map<number, readonly (readonly [name: Uint8Array, role: ArgumentRole])[]>();
for (const [name, role] of Object.entries(roles)) {
  const others = rolesByLength.get(name.length) ?? [];
  rolesByLength.set(name.length, [...others, [Buffer.from(name, "latin1"), role]]);
}

const rememberedPositions = 32;
// Names come from the peer: without a limit, a hostile peer could fill the memory.
const maxReported = 100;
// Longer than every known name. Of a longer name, only the first 64 bytes are reported, and nothing is remembered.
const maxNameBytes = 64;

/**
 * Finds the role of an argument by the bytes of its name. HAProxy sends a message's arguments in the same order every
 * time, so the last name at a position is compared first, byte by byte and without allocation.
 */
export class ArgumentNames {
  readonly #names: (Uint8Array | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #roles: (ArgumentRole | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #onUnknown: (name: string) => void;
  readonly #reported = new Set<string>();

  /** @param onUnknown receives each unknown name once, at most 100 names */
  constructor(onUnknown: (name: string) => void) {
    this.#onUnknown = onUnknown;
  }

  roleAt(position: number, bytes: Uint8Array, start: number, end: number): ArgumentRole | undefined {
    const slot = position % rememberedPositions;
    const known = this.#names[slot];
    if (known !== undefined && sameBytes(known, bytes, start, end)) return this.#roles[slot];
    const role = findRole(bytes, start, end);
    // Nothing is left to report, and nothing worth an allocation.
    if (role === undefined && this.#reported.size >= maxReported) return undefined;
    if (end - start > maxNameBytes) {
      this.#report(Buffer.from(bytes.subarray(start, start + maxNameBytes)).toString("latin1"));
      return undefined;
    }
    const name = Buffer.from(bytes.subarray(start, end));
    const text = name.toString("latin1");
    if (role === undefined) this.#report(text);
    this.#names[slot] = name;
    this.#roles[slot] = role;
    return role;
  }

  #report(name: string): void {
    if (this.#reported.has(name) || this.#reported.size >= maxReported) return;
    this.#reported.add(name);
    this.#onUnknown(name);
  }
}

function findRole(bytes: Uint8Array, start: number, end: number): ArgumentRole | undefined {
  const candidates = rolesByLength.get(end - start);
  if (candidates === undefined) return undefined;
  for (const [name, role] of candidates) if (sameBytes(name, bytes, start, end)) return role;
  return undefined;
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
