/** What a reader made of a file: how much it accepted, and how much it refused with its own error. */
export interface Verdict {
  readonly accepted: number;
  readonly refused: number;
}

/** An undamaged file, and what its reader has to make of it: counted by hand. */
export interface Seed extends Verdict {
  readonly bytes: Buffer;
}

/** A kind of file or text that the product reads, and that somebody else may have written. */
export interface FileKind {
  readonly name: string;
  readonly seeds: readonly Seed[];
  /** How many of a thousand files are of this kind. */
  readonly share: number;
  /** What means something to the reader. Damage inserts it. */
  readonly marks: readonly string[];
  /** Corrects lengths and checksums after most damage: otherwise none would get behind them. */
  readonly mend?: (bytes: Buffer) => Buffer;
  /** How many bytes the reader may make of a file; by default as many as the file has. Their number allows time. */
  readonly expandedBytes?: (bytes: Buffer) => number;
  /** Reads a file and checks what the reader made of it. The result depends only on the bytes. Throws if a check fails. */
  read(bytes: Buffer): Verdict | Promise<Verdict>;
}

/** Throws if a check fails. */
export function assertTrue(isRight: boolean, mistake: string | (() => string)): asserts isRight {
  if (!isRight) throw new Error(typeof mistake === "string" ? mistake : mistake());
}

/** Throws if both values are not the same JSON; bytes count as base64. */
export function assertSame(found: unknown, expected: unknown, what: string): void {
  const [is, wanted] = [toJson(found), toJson(expected)];
  assertTrue(is === wanted, () => `${what}: ${excerpt(is, wanted)} instead of ${excerpt(wanted, is)}`);
}

/** The value as text. Keys are sorted, and bytes are base64. */
export function toJson(value: unknown): string {
  return JSON.stringify(toPlain(value));
}

function toPlain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
  if (Array.isArray(value)) return value.map(toPlain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, part]) => [key, toPlain(part)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What follows the place where the texts differ. */
function excerpt(text = "nothing", other = ""): string {
  let at = 0;
  while (at < text.length && text[at] === other[at]) at++;
  return `…${text.slice(Math.max(0, at - 40), at + 120)}…`;
}
