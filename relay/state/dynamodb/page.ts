import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { ByteReader } from "../../pack/byte-reader.ts";
import { toPackGroup } from "../../pack/pack-id.ts";
import { maxVarintBytes, writeVarint } from "../../pack/varint.ts";
import type { FateSheet } from "../port.ts";
import { packPartition } from "./keys.ts";
import { packSheet, unpackSheet } from "./packed-sheet.ts";
import type { Item, ItemKey } from "./table-client.ts";

/**
 * The item of a page, as read from the table. A page has the packs of one group (see `createPackIds`), or one pack whose id
 * belongs to no group: packs of replay jobs and of older agents. Pages of one pack look as in older versions, which may write
 * them at the same time.
 */
export interface Page {
  /** The slots of the packs that are counted for their agent. */
  readonly arrived: ReadonlySet<string>;
  /** By slot and target, see `toSheetKey`. */
  readonly sheets: ReadonlyMap<string, TargetSheet>;
  /** By writer: the numbers of its last operations on this page; the number of a barred operation is negative. */
  readonly marks: ReadonlyMap<string, readonly number[]>;
}

/** Where the ledger keeps a pack. */
export interface PackPlace {
  readonly page: string;
  /** The pack within its page: two hex digits, or empty if the page has only this pack. */
  readonly slot: string;
}

/** The fates of a pack at one target. */
export interface TargetSheet {
  readonly fannedOut: boolean;
  /** Grows with each write, so that a sheet differs from every earlier one even if its fates are the same. */
  readonly version: number;
  readonly sheet: FateSheet;
}

/** What a page says about an operation. `open`: it may still be made. `forgotten`: the page no longer has its mark. */
export type Verdict = "made" | "barred" | "open" | "forgotten";

export const emptyPage: Page = { arrived: new Set(), sheets: new Map(), marks: new Map() };

export function toPlace(pack: string): PackPlace {
  const found = toPackGroup(pack);
  return found ? { page: found.group, slot: found.slot } : { page: pack, slot: "" };
}

export function toPageKey(page: string): ItemKey {
  return { pk: packPartition(page), sk: itemKey };
}

/** The name of the page that an item belongs to. */
export function toPageName(item: Item): string {
  return String(item.pk.S).slice(packPartition("").length);
}

export function toPage(item: Item | undefined): Page {
  const arrived = new Set<string>();
  const sheets = new Map<string, TargetSheet>();
  const marks = new Map<string, readonly number[]>();
  for (const [name, { B, S, BOOL }] of Object.entries(item ?? {})) {
    if (B && name.startsWith(plainPrefix)) sheets.set(toSheetKey("", name.slice(plainPrefix.length)), decodePlain(B));
    else if (B) sheets.set(toSheetKey(...splitName(name)), decodePacked(B));
    else if (BOOL) arrived.add(name === plainArrived ? "" : splitName(name)[0]);
    else if (S !== undefined && anyMarks.test(name))
      marks.set(name.slice(name.indexOf("#") + 1), S.split(" ").map(Number));
  }
  return { arrived, sheets, marks };
}

export function toSheetKey(slot: string, target: string): string {
  return `${slot}#${target}`;
}

/** The sheets of a pack, by target. */
export function sheetsOf({ sheets }: Page, slot: string): ReadonlyMap<string, TargetSheet> {
  const prefix = toSheetKey(slot, "");
  return new Map(
    [...sheets].flatMap(([key, sheet]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), sheet]] : [])),
  );
}

/** Tells whether an operation that its writer announced was made. */
export function judge(page: Page, writer: string, operation: number): Verdict {
  const marks = page.marks.get(writer) ?? [];
  if (marks.includes(operation)) return "made";
  if (marks.includes(-operation)) return "barred";
  return marks.length === marksKept && operation < Math.abs(marks[0]) ? "forgotten" : "open";
}

/** The attribute of a sheet: its name, and its value. */
export function toSheetAttribute(key: string, sheet: TargetSheet): readonly [string, AttributeValue] {
  const [slot, target] = [key.slice(0, key.indexOf("#")), key.slice(key.indexOf("#") + 1)];
  if (slot === "") return [plainPrefix + target, { B: encodePlain(sheet) }];
  return [toArrivedName(slot) + target, { B: encodePacked(sheet) }];
}

/** The name of the attribute that says that a pack has arrived. */
export function toArrivedName(slot: string): string {
  if (slot === "") return plainArrived;
  return digits[Number.parseInt(slot, 16)] ?? longSlot + slot;
}

/** The name of the attribute with a writer's marks. */
export function toMarksName(page: string, writer: string): string {
  return (page.length === groupLength ? marksPrefix : plainMarksPrefix) + writer;
}

// A writer starts the next operation on a page only after it has counted the last one, so one mark would be enough for it.
// Readers need more: they read the item after the sums, and some operations may have been made in between.
export const marksKept = 4;

// Existing tables use these names: they must not change. Every byte of an item is billed with each write, so the names in
// pages of many packs are short.
const itemKey = "page";
const plainPrefix = "share#";
const plainArrived = "arrived";
const plainMarksPrefix = "marks#";
const marksPrefix = "m#";
const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
// Before a slot that no digit stands for: agents do not use such slots.
const longSlot = ".";
const anyMarks = /^(?:marks|m)#/;
// 11 bytes in base64url. The name of any other page is the id of its pack, which is longer.
const groupLength = 15;
const plainHeaderBytes = 5;

/** The slot at the beginning of an attribute's name, in hex, and the rest of the name. */
function splitName(name: string): [slot: string, rest: string] {
  if (name.startsWith(longSlot)) return [name.slice(1, 3), name.slice(3)];
  return [digits.indexOf(name[0]).toString(16).padStart(2, "0"), name.slice(1)];
}

function encodePlain({ fannedOut, version, sheet }: TargetSheet): Uint8Array {
  const bytes = new Uint8Array(plainHeaderBytes + sheet.length);
  bytes[0] = fannedOut ? 1 : 0;
  new DataView(bytes.buffer).setUint32(1, version);
  bytes.set(sheet, plainHeaderBytes);
  return bytes;
}

function decodePlain(bytes: Uint8Array): TargetSheet {
  return {
    fannedOut: bytes[0] === 1,
    version: new DataView(bytes.buffer, bytes.byteOffset).getUint32(1),
    sheet: bytes.subarray(plainHeaderBytes),
  };
}

function encodePacked({ fannedOut, version, sheet }: TargetSheet): Uint8Array {
  const head = new Uint8Array(maxVarintBytes);
  const headBytes = writeVarint(head, 0, version * 2 + Number(fannedOut));
  return Buffer.concat([head.subarray(0, headBytes), packSheet(sheet)]);
}

function decodePacked(bytes: Uint8Array): TargetSheet {
  const reader = new ByteReader(bytes);
  const head = reader.varint();
  return {
    fannedOut: head % 2 === 1,
    version: Math.floor(head / 2),
    sheet: unpackSheet(bytes.subarray(reader.offset)),
  };
}
