import { ByteReader } from "../../pack/byte-reader.ts";
import { maxVarintBytes, writeVarint } from "../../pack/varint.ts";
import type { FateSheet } from "../port.ts";

// Every kilobyte of an item is billed with each write, and one item has the sheets of up to 20 packs at all targets. Nearly all
// sheets have a single fate or few fates, so they shrink from a byte a request to a few bytes.

/** Encodes a sheet in one of three forms, the shortest. The same sheet always has the same encoding. */
export function packSheet(sheet: FateSheet): Uint8Array {
  const plain = Buffer.concat([Buffer.of(forms.plain), sheet]);
  return [plain, toRuns(sheet), toPalette(sheet)].reduce((best, one) => (one.length < best.length ? one : best));
}

/** Decodes what `packSheet` has encoded. Throws if the bytes are of another form. */
export function unpackSheet(packed: Uint8Array): FateSheet {
  const reader = new ByteReader(packed);
  switch (reader.u8()) {
    case forms.plain:
      return packed.subarray(1);
    case forms.runs:
      return fromRuns(reader, packed.length);
    case forms.palette:
      return fromPalette(reader, packed);
    default:
      throw new Error("a sheet in the table has a form that this version of spoa-relay does not know");
  }
}

// Stored in tables: the numbers must never change.
const forms = { plain: 0, runs: 1, palette: 2 } as const;

/** The value and the length of each run of equal bytes. */
function toRuns(sheet: FateSheet): Uint8Array {
  const bytes: number[] = [forms.runs];
  for (let start = 0; start < sheet.length; ) {
    let end = start + 1;
    while (end < sheet.length && sheet[end] === sheet[start]) end++;
    bytes.push(sheet[start], ...toVarint(end - start));
    start = end;
  }
  return Uint8Array.from(bytes);
}

function fromRuns(reader: ByteReader, bytes: number): FateSheet {
  const runs: Uint8Array[] = [];
  while (reader.offset < bytes) {
    const value = reader.u8();
    runs.push(new Uint8Array(reader.varint()).fill(value));
  }
  return Buffer.concat(runs);
}

/** The different values, the length, and for each byte its place among the values, in as few bits as are needed. */
function toPalette(sheet: FateSheet): Uint8Array {
  const values = [...new Set(sheet)].sort((a, b) => a - b);
  const head = [forms.palette, values.length, ...values, ...toVarint(sheet.length)];
  const bits = bitsFor(values.length);
  const places = new Map(values.map((value, place) => [value, place]));
  const packed = new Uint8Array(head.length + Math.ceil((sheet.length * bits) / 8));
  packed.set(head);
  for (let i = 0; i < sheet.length * bits; i++) {
    const place = places.get(sheet[Math.floor(i / bits)]) ?? 0;
    packed[head.length + (i >> 3)] |= ((place >> (i % bits)) & 1) << (i & 7);
  }
  return packed;
}

function fromPalette(reader: ByteReader, packed: Uint8Array): FateSheet {
  const values = Array.from({ length: reader.u8() }, () => reader.u8());
  const sheet = new Uint8Array(reader.varint());
  const bits = bitsFor(values.length);
  for (let i = 0; i < sheet.length; i++) {
    let place = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = i * bits + bit;
      place |= ((packed[reader.offset + (at >> 3)] >> (at & 7)) & 1) << bit;
    }
    sheet[i] = values[place];
  }
  return sheet;
}

function bitsFor(values: number): number {
  return Math.ceil(Math.log2(Math.max(1, values)));
}

function toVarint(value: number): Uint8Array {
  const bytes = new Uint8Array(maxVarintBytes);
  return bytes.subarray(0, writeVarint(bytes, 0, value));
}
