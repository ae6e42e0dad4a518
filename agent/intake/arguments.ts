/** What an argument of a message means to the intake. */
export type ArgumentRole =
  | "method"
  | "path"
  | "url"
  | "query"
  | "version"
  | "headers"
  | "body"
  | "bodyBytes"
  | "id"
  | "src"
  | "status"
  | "timeMs"
  | "responseHeaders"
  | "responseBytes"
  | "responseDigest";

/**
 * Every argument name that is understood: spoa-mirror's, so that its configurations work unchanged, and the plain ones.
 * `path` may lack the query, `url` roles carry it; where both come, `url` is taken.
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
  id: "id",
  src: "src",
  status: "status",
  time: "timeMs",
  res_hdrs: "responseHeaders",
  res_bytes: "responseBytes",
  res_digest: "responseDigest",
};

const rememberedPositions = 32;
// Longer than every known name; what is longer still is neither remembered nor reported whole.
const maxNameBytes = 64;

/**
 * Tells the role of an argument from the bytes of its name. HAProxy sends a message's arguments in the same order every
 * time, so the name seen last at a position is compared first, byte by byte, and nothing is allocated.
 */
export class ArgumentNames {
  readonly #names: (Uint8Array | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #roles: (ArgumentRole | undefined)[] = new Array(rememberedPositions).fill(undefined);
  readonly #onUnknown: (name: string) => void;
  readonly #reported = new Set<string>();

  /** @param onUnknown is told each unknown name once. */
  constructor(onUnknown: (name: string) => void) {
    this.#onUnknown = onUnknown;
  }

  roleAt(position: number, bytes: Uint8Array, start: number, end: number): ArgumentRole | undefined {
    const slot = position % rememberedPositions;
    const known = this.#names[slot];
    if (known !== undefined && sameBytes(known, bytes, start, end)) return this.#roles[slot];
    if (end - start > maxNameBytes) {
      this.#report(Buffer.from(bytes.subarray(start, start + maxNameBytes)).toString("latin1"));
      return undefined;
    }
    const name = Buffer.from(bytes.subarray(start, end));
    const text = name.toString("latin1");
    const role = Object.hasOwn(roles, text) ? roles[text] : undefined;
    if (role === undefined) this.#report(text);
    this.#names[slot] = name;
    this.#roles[slot] = role;
    return role;
  }

  #report(name: string): void {
    // Names come from the peer: without a limit a hostile one would fill the memory.
    if (this.#reported.has(name) || this.#reported.size >= 100) return;
    this.#reported.add(name);
    this.#onUnknown(name);
  }
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
