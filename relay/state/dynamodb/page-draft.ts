import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import {
  countRedriven,
  isWaiting,
  noteFates,
  noteMoved,
  reopenRequests,
  type SheetChange,
  widenSheet,
} from "../fate-sheet.ts";
import type { FannedOutPack, FateSheet, Settlement } from "../port.ts";
import { packPartition } from "./keys.ts";
import { Sums } from "./ledger-sums.ts";
import type { Change, Item, ItemKey } from "./table-client.ts";

/** The item of one pack, as read from the table. */
export interface PackItem {
  /** Whether the pack is counted for its agent. */
  readonly arrived: boolean;
  readonly targets: ReadonlyMap<string, TargetSheet>;
  /** By writer: the numbers of its last operations on this pack; the number of a barred operation is negative. */
  readonly marks: ReadonlyMap<string, readonly number[]>;
}

/** The fates of a pack at one target. */
export interface TargetSheet {
  readonly fannedOut: boolean;
  /** Grows with each write, so that a sheet differs from every earlier one even if its fates are the same. */
  readonly version: number;
  readonly sheet: FateSheet;
}

/** What an item says about an operation. `open`: it may still be made. `forgotten`: the item no longer has its mark. */
export type Verdict = "made" | "barred" | "open" | "forgotten";

export const emptyPackItem: PackItem = { arrived: false, targets: new Map(), marks: new Map() };

export function toPackKey(pack: string): ItemKey {
  return { pk: packPartition(pack), sk: itemKey };
}

/** The pack that an item belongs to. */
export function toPack(item: Item): string {
  return String(item.pk.S).slice(packPartition("").length);
}

export function toPackItem(item: Item | undefined): PackItem {
  if (!item) return emptyPackItem;
  const attributes = Object.entries(item);
  return {
    arrived: item.arrived?.BOOL === true,
    targets: new Map(
      attributes.flatMap(([name, { B }]) =>
        name.startsWith(targetPrefix) && B ? [[name.slice(targetPrefix.length), decodeTargetSheet(B)]] : [],
      ),
    ),
    marks: new Map(
      attributes.flatMap(([name, { S }]) =>
        name.startsWith(marksPrefix) && S !== undefined
          ? [[name.slice(marksPrefix.length), S.split(" ").map(Number)]]
          : [],
      ),
    ),
  };
}

/** Tells whether an operation that its writer announced was made. */
export function judge(item: PackItem, writer: string, operation: number): Verdict {
  const marks = item.marks.get(writer) ?? [];
  if (marks.includes(operation)) return "made";
  if (marks.includes(-operation)) return "barred";
  return marks.length === marksKept && operation < Math.abs(marks[0]) ? "forgotten" : "open";
}

/** A change that makes an open operation impossible, even if its writer is just about to make it. */
export function toBar(item: PackItem, writer: string, operation: number, expiresAt: number): Change {
  return new PackItemDraft(item).toChange(writer, -operation, expiresAt);
}

/** The changes of an operation to the item of a pack, and its additions to the sums. */
export class PackItemDraft {
  readonly sums = new Sums();
  readonly #item: PackItem;
  readonly #changed = new Map<string, TargetSheet>();
  #arrives = false;

  constructor(item: PackItem) {
    this.#item = item;
  }

  get changed(): boolean {
    return this.#arrives || this.#changed.size > 0;
  }

  fanOut({ agent, sequence, requests, targets }: FannedOutPack): void {
    if (!this.#item.arrived && !this.#arrives) {
      this.#arrives = true;
      this.sums.arrive(agent, requests, sequence);
    }
    for (const [target, settlement] of targets) {
      // A second attempt can add targets. For the other targets, the first attempt counts.
      if (this.#targetSheet(target).fannedOut) continue;
      const before = this.#targetSheet(target).sheet;
      const sheet = widenSheet(before, requests);
      this.#change(target, { fannedOut: true, sheet });
      if (isWaiting(sheet)) this.sums.count(target, "waitingPacks", 1);
      // Redriven requests were counted when they were redriven.
      this.sums.enqueue(target, requests - countRedriven(before));
      this.settle(target, settlement);
    }
  }

  settle(target: string, settlement: Settlement, redrives = 0): void {
    this.#keep(target, noteFates(this.#targetSheet(target).sheet, settlement, redrives));
  }

  reopen(target: string, indexes: readonly number[], redrives: number): void {
    this.#keep(target, reopenRequests(this.#targetSheet(target).sheet, indexes, redrives));
  }

  move(from: string, to: string, indexes: readonly number[], redrives: number): void {
    this.#keep(from, noteMoved(this.#targetSheet(from).sheet, indexes, redrives));
    this.reopen(to, indexes, redrives);
  }

  /** The condition fails if another writer was first: the changed attributes and the writer's own marks must be as read. */
  toChange(writer: string, mark: number, expiresAt: number): Change {
    const { targets, marks } = this.#item;
    const seenMarks = marks.get(writer);
    const sets = ["expiresAt = :expiresAt", "#marks = :marks"];
    const conditions = [seenMarks ? "#marks = :seenMarks" : "attribute_not_exists(#marks)"];
    const names: Record<string, string> = { "#marks": marksPrefix + writer };
    const values: Record<string, AttributeValue> = {
      ":expiresAt": { N: `${expiresAt}` },
      ":marks": { S: [...(seenMarks ?? []), mark].slice(-marksKept).join(" ") },
      ...(seenMarks && { ":seenMarks": { S: seenMarks.join(" ") } }),
    };
    if (this.#arrives) {
      sets.push("arrived = :arrived");
      conditions.push("attribute_not_exists(arrived)");
      values[":arrived"] = { BOOL: true };
    }
    Array.from(this.#changed).forEach(([target, sheet], i) => {
      const seen = targets.get(target);
      // Short placeholders: an expression may have 4 KB, which is enough for a hundred targets.
      names[`#s${i}`] = targetPrefix + target;
      sets.push(`#s${i} = :s${i}`);
      values[`:s${i}`] = { B: encodeTargetSheet(sheet) };
      conditions.push(seen ? `#s${i} = :o${i}` : `attribute_not_exists(#s${i})`);
      if (seen) values[`:o${i}`] = { B: encodeTargetSheet(seen) };
    });
    return { update: `SET ${sets.join(", ")}`, condition: conditions.join(" AND "), names, values };
  }

  #targetSheet(target: string): TargetSheet {
    return this.#changed.get(target) ?? this.#item.targets.get(target) ?? emptyTargetSheet;
  }

  #keep(target: string, { sheet, changed, counts }: SheetChange): void {
    if (!changed) return;
    const before = this.#targetSheet(target);
    this.#change(target, { sheet });
    const packs = Number(isWaiting(sheet)) - Number(isWaiting(before.sheet));
    if (before.fannedOut && packs !== 0) this.sums.count(target, "waitingPacks", packs);
    // Of a pack that was not fanned out to this target, only the requests that were redriven to it count as enqueued.
    if (!before.fannedOut) this.sums.enqueue(target, countRedriven(sheet) - countRedriven(before.sheet));
    for (const [what, count] of counts) this.sums.count(target, what, count);
  }

  #change(target: string, change: Partial<TargetSheet>): void {
    const version = (this.#item.targets.get(target)?.version ?? 0) + 1;
    this.#changed.set(target, { ...this.#targetSheet(target), ...change, version });
  }
}

// Existing tables use these names: they must not change.
const itemKey = "page";
const targetPrefix = "share#";
const marksPrefix = "marks#";
// A writer starts the next operation on a pack only after it has counted the last one, so one mark would be enough for it.
// Readers need more: they read the item after the sums, and some operations may have been made in between.
const marksKept = 4;
const emptyTargetSheet: TargetSheet = { fannedOut: false, version: 0, sheet: new Uint8Array() };
const sheetHeaderBytes = 5;

function encodeTargetSheet({ fannedOut, version, sheet }: TargetSheet): Uint8Array {
  const bytes = new Uint8Array(sheetHeaderBytes + sheet.length);
  bytes[0] = fannedOut ? 1 : 0;
  new DataView(bytes.buffer).setUint32(1, version);
  bytes.set(sheet, sheetHeaderBytes);
  return bytes;
}

function decodeTargetSheet(bytes: Uint8Array): TargetSheet {
  return {
    fannedOut: bytes[0] === 1,
    version: new DataView(bytes.buffer, bytes.byteOffset).getUint32(1),
    sheet: bytes.subarray(sheetHeaderBytes),
  };
}
