import { seededRandom } from "../../support/data/seeded-random.ts";
import type { FileKind } from "./file-kind.ts";

type Random = () => number;

const maxFileBytes = 256 * 1024;
const longestRepeatBytes = 64 * 1024;
const undamagedShare = 0.02;

// Odd UTF-8: cut off, overlong, half of a surrogate pair, beyond U+10FFFF, a noncharacter, marks of byte order and direction.
const oddBytes = [
  "c3",
  "c080",
  "eda080",
  "edb080",
  "f4908080",
  "efbfbe",
  "efbbbf",
  "e280ae",
  "00",
  "ff",
  "fffe",
  "feff",
]
  .map((hex) => Buffer.from(hex, "hex"))
  .concat(
    ["\r", "\n", "\r\n", "\n\n", "\r\n\r\n", "\u2028", "\u0085", "\t", "\x1b[2J"].map((text) => Buffer.from(text)),
  );
const oddNumbers = [
  ..."0 -1 -0 1 2 255 256 65535 65536 2147483648 4294967295 4294967296 9007199254740991 9007199254740993".split(" "),
  ..."18446744073709551616 99999999999999999999999999 1e3 1e309 1e-400 0.1 00 007 +1 0x10 1_000 NaN Infinity ٣".split(
    " ",
  ),
];
const structural = [..."{}[]()<>\"'`,;:=&%\\/|?*+-.@#$!~^_ \t"];
// Deep nesting, and long runs of one unit.
const units = [
  "[",
  "{",
  "(",
  '{"a":',
  "[[]",
  "- ",
  "a: ",
  "\\",
  '"',
  "a",
  "1",
  " ",
  ",",
  "\n",
  "a=b&",
  "%25",
  "\0",
  "*",
];
const integers = [0, 1, 0x7f, 0x80, 0xef, 0xf0, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/** A file to read. */
export interface MadeFile {
  readonly kind: FileKind;
  readonly bytes: Buffer;
}

/** Damages files in their structure and in their bytes. A few stay as they were. */
export class FileMutator {
  readonly #seed: number;
  readonly #kinds: readonly FileKind[];
  readonly #shares: number;

  constructor(seed: number, kinds: readonly FileKind[]) {
    this.#seed = seed;
    this.#kinds = kinds;
    this.#shares = kinds.reduce((sum, { share }) => sum + share, 0);
  }

  /** The same file for the same seed, kinds and number. */
  file(caseNumber: number): MadeFile {
    const random = seededRandom(Math.imul(this.#seed, 0x9e37_79b1) + Math.imul(caseNumber, 0x85eb_ca6b));
    for (let i = 0; i < 3; i++) random();
    const kind = this.#pickKind(random);
    const seed = pick(kind.seeds, random).bytes;
    if (random() < undamagedShare) return { kind, bytes: Buffer.from(seed) };
    let bytes: Buffer = Buffer.from(seed);
    // Mostly one or two: of a file with more, no reader would get far.
    for (let more = true; more; more = random() < 0.4) bytes = this.#damage(bytes, kind, random);
    if (kind.mend && random() < 0.85) bytes = kind.mend(bytes);
    return { kind, bytes: Buffer.from(bytes.subarray(0, maxFileBytes)) };
  }

  #pickKind(random: Random): FileKind {
    let left = random() * this.#shares;
    for (const kind of this.#kinds) {
      left -= kind.share;
      if (left < 0) return kind;
    }
    return this.#kinds[0];
  }

  #damage(bytes: Buffer, kind: FileKind, random: Random): Buffer {
    const at = below(bytes.length + 1, random);
    switch (below(16, random)) {
      case 0:
        return withByte(bytes, at, (byte) => byte ^ (1 << below(8, random)));
      case 1:
        return withByte(bytes, at, () => below(256, random));
      case 2:
        return bytes.subarray(0, at);
      case 3:
        return splice(bytes, at, Math.min(bytes.length - at, lengthOf(random)), none);
      case 4:
        return splice(bytes, at, 0, Buffer.from(pick(kind.marks, random)));
      case 5:
        return splice(bytes, at, below(3, random), pick(oddBytes, random));
      case 6:
        return withNumber(bytes, at, random);
      case 7:
        return withInteger(bytes, at, random);
      case 8:
        return random() < 0.8 ? withSign(bytes, at, random) : convertLines(bytes, random);
      case 9:
      case 10:
        return withPartOf(bytes, at, pick(kind.seeds, random).bytes, random);
      case 11:
        return withPartOf(bytes, at, pick(pick(this.#kinds, random).seeds, random).bytes, random);
      case 12:
        return splice(bytes, at, 0, bytes.subarray(at, at + lengthOf(random)));
      case 13:
        return withLineMoved(bytes, at, random);
      case 14:
        return splice(bytes, at, 0, repeated(kind, random));
      default:
        return withWord(bytes, at, pick(kind.seeds, random).bytes, random);
    }
  }
}

const none = Buffer.alloc(0);

function below(limit: number, random: Random): number {
  return Math.floor(random() * limit);
}

function pick<T>(values: readonly T[], random: Random): T {
  return values[below(values.length, random)];
}

/** Mostly a few bytes, rarely a good part of a file. */
function lengthOf(random: Random): number {
  return 1 + below(4 ** (1 + below(6, random)), random);
}

function splice(bytes: Buffer, at: number, removed: number, added: Uint8Array): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}

function withByte(bytes: Buffer, at: number, change: (byte: number) => number): Buffer {
  const place = Math.min(at, bytes.length - 1);
  return bytes.length === 0 ? Buffer.of(change(0)) : splice(bytes, place, 1, Buffer.of(change(bytes[place]) & 0xff));
}

/** Replaces the next number in digits. */
function withNumber(bytes: Buffer, at: number, random: Random): Buffer {
  const match = /\d+/.exec(bytes.toString("latin1", at, at + 512));
  if (!match) return splice(bytes, at, 0, Buffer.from(pick(oddNumbers, random)));
  const near = `${BigInt(match[0]) + BigInt(below(5, random) - 2)}`;
  return splice(
    bytes,
    at + match.index,
    match[0].length,
    Buffer.from(random() < 0.3 ? near : pick(oddNumbers, random)),
  );
}

/** Overwrites bytes, which may be a length, a count or a time. */
function withInteger(bytes: Buffer, at: number, random: Random): Buffer {
  const size = pick([1, 2, 4, 6, 8], random);
  const value = Buffer.alloc(8, random() < 0.2 ? 0xff : 0);
  if (size === 1) value[0] = random() < 0.5 ? pick(integers, random) : (bytes[at] ?? 0) + below(9, random) - 4;
  else if (random() < 0.5) value.writeUInt32BE(pick(integers, random), size <= 4 ? 0 : size - 4);
  else value.writeUInt32LE(pick(integers, random));
  return splice(bytes, at, Math.min(size, bytes.length - at), value.subarray(0, size));
}

/** Removes, doubles or replaces the next character of the structure. */
function withSign(bytes: Buffer, at: number, random: Random): Buffer {
  const match = /[^\w \t]/.exec(bytes.toString("latin1", at, at + 256));
  const place = at + (match?.index ?? 0);
  const sign = Buffer.from(random() < 0.3 ? "" : pick(structural, random));
  return splice(bytes, place, random() < 0.7 ? 1 : 0, sign);
}

function convertLines(bytes: Buffer, random: Random): Buffer {
  const lines = bytes.toString("latin1").split(/\r?\n/);
  return Buffer.from(lines.join(pick(["\r\n", "\r", "\n\r", "\n"], random)), "latin1");
}

/** Overwrites or inserts a part of another file. */
function withPartOf(bytes: Buffer, at: number, other: Buffer, random: Random): Buffer {
  const from = below(other.length, random);
  const part = other.subarray(from, from + lengthOf(random));
  return splice(bytes, at, random() < 0.5 ? 0 : Math.min(part.length, bytes.length - at), part);
}

/** Moves, doubles or removes the line here. */
function withLineMoved(bytes: Buffer, at: number, random: Random): Buffer {
  const start = bytes.lastIndexOf("\n", Math.max(0, at - 1)) + 1;
  const end = bytes.indexOf("\n", at) + 1 || bytes.length;
  const line = Buffer.from(bytes.subarray(start, end));
  const rest = random() < 0.5 ? bytes : splice(bytes, start, line.length, none);
  if (random() < 0.2) return rest;
  return splice(rest, rest.indexOf("\n", below(rest.length + 1, random)) + 1, 0, line);
}

function repeated(kind: FileKind, random: Random): Buffer {
  const unit = Buffer.from(random() < 0.5 ? pick(units, random) : pick(kind.marks, random));
  const bytes = random() < 0.05 ? longestRepeatBytes : 2 + below(400, random);
  return unit.length === 0 ? none : Buffer.alloc(bytes, unit);
}

/** Replaces a word by one of another file. */
function withWord(bytes: Buffer, at: number, other: Buffer, random: Random): Buffer {
  const word = /[\w.-]+/;
  const found = word.exec(bytes.toString("latin1", at, at + 256));
  const from = below(other.length, random);
  const given = word.exec(other.toString("latin1", from, from + 256));
  return splice(bytes, at + (found?.index ?? 0), found?.[0].length ?? 0, Buffer.from(given?.[0] ?? "", "latin1"));
}
