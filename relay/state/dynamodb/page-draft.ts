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
import type { FannedOutPack, Settlement } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import {
  marksKept,
  type Page,
  type TargetSheet,
  toArrivedName,
  toMarksName,
  toSheetAttribute,
  toSheetKey,
} from "./page.ts";
import type { Change } from "./table-client.ts";

/** A change that makes an open operation impossible, even if its writer is just about to make it. */
export function toBar(name: string, page: Page, writer: string, operation: number, expiresAt: number): Change {
  return new PageDraft(name, page).toChange(writer, -operation, expiresAt);
}

/** The changes of an operation to the item of a page, and its additions to the sums. */
export class PageDraft {
  readonly sums = new Sums();
  readonly #name: string;
  readonly #page: Page;
  readonly #changed = new Map<string, TargetSheet>();
  readonly #arrived = new Set<string>();

  constructor(name: string, page: Page) {
    this.#name = name;
    this.#page = page;
  }

  get changed(): boolean {
    return this.#arrived.size + this.#changed.size > 0;
  }

  fanOut(slot: string, { agent, sequence, requests, targets }: FannedOutPack): void {
    if (!this.#page.arrived.has(slot) && !this.#arrived.has(slot)) {
      this.#arrived.add(slot);
      this.sums.arrive(agent, requests, sequence);
    }
    for (const [target, settlement] of targets) {
      const key = toSheetKey(slot, target);
      const before = this.#sheetAt(key);
      // A second attempt can add targets. For the other targets, the first attempt counts.
      if (before.fannedOut) continue;
      const sheet = widenSheet(before.sheet, requests);
      this.#change(key, { fannedOut: true, sheet });
      if (isWaiting(sheet)) this.sums.count(target, "waitingPacks", 1);
      // Redriven requests were counted when they were redriven.
      this.sums.enqueue(target, requests - countRedriven(before.sheet));
      this.settle(slot, target, settlement);
    }
  }

  settle(slot: string, target: string, settlement: Settlement, redrives = 0): void {
    this.#keep(slot, target, (sheet) => noteFates(sheet, settlement, redrives));
  }

  reopen(slot: string, target: string, indexes: readonly number[], redrives: number): void {
    this.#keep(slot, target, (sheet) => reopenRequests(sheet, indexes, redrives));
  }

  move(slot: string, from: string, to: string, indexes: readonly number[], redrives: number): void {
    this.#keep(slot, from, (sheet) => noteMoved(sheet, indexes, redrives));
    this.reopen(slot, to, indexes, redrives);
  }

  /** The condition fails if another writer was first: the changed attributes and the writer's own marks must be as read. */
  toChange(writer: string, mark: number, expiresAt: number): Change {
    const { sheets, marks } = this.#page;
    const seenMarks = marks.get(writer);
    const sets = ["expiresAt = :expiresAt", "#marks = :marks"];
    const conditions = [seenMarks ? "#marks = :seenMarks" : "attribute_not_exists(#marks)"];
    const names: Record<string, string> = { "#marks": toMarksName(this.#name, writer) };
    const values: Record<string, AttributeValue> = {
      ":expiresAt": { N: `${expiresAt}` },
      ":marks": { S: withMark(seenMarks, mark).join(" ") },
      ...(seenMarks && { ":seenMarks": { S: seenMarks.join(" ") } }),
    };
    // Short placeholders: an expression may have 4 KB, which is enough for a hundred attributes.
    Array.from(this.#arrived).forEach((slot, i) => {
      names[`#a${i}`] = toArrivedName(slot);
      sets.push(`#a${i} = :arrived`);
      conditions.push(`attribute_not_exists(#a${i})`);
      values[":arrived"] = { BOOL: true };
    });
    Array.from(this.#changed).forEach(([key, sheet], i) => {
      const seen = sheets.get(key);
      const [name, value] = toSheetAttribute(key, sheet);
      names[`#s${i}`] = name;
      sets.push(`#s${i} = :s${i}`);
      values[`:s${i}`] = value;
      conditions.push(seen ? `#s${i} = :o${i}` : `attribute_not_exists(#s${i})`);
      if (seen) values[`:o${i}`] = toSheetAttribute(key, seen)[1];
    });
    return { update: `SET ${sets.join(", ")}`, condition: conditions.join(" AND "), names, values };
  }

  /** The page after the operation was made with this mark. */
  toPage(writer: string, mark: number): Page {
    const { arrived, sheets, marks } = this.#page;
    return {
      arrived: new Set([...arrived, ...this.#arrived]),
      sheets: new Map([...sheets, ...this.#changed]),
      marks: new Map([...marks, [writer, withMark(marks.get(writer), mark)]]),
    };
  }

  #sheetAt(key: string): TargetSheet {
    return this.#changed.get(key) ?? this.#page.sheets.get(key) ?? emptySheet;
  }

  #keep(slot: string, target: string, edit: (sheet: Uint8Array) => SheetChange): void {
    const key = toSheetKey(slot, target);
    const before = this.#sheetAt(key);
    const { sheet, changed, counts } = edit(before.sheet);
    if (!changed) return;
    this.#change(key, { sheet });
    const packs = Number(isWaiting(sheet)) - Number(isWaiting(before.sheet));
    if (before.fannedOut && packs !== 0) this.sums.count(target, "waitingPacks", packs);
    // Of a pack that was not fanned out to this target, only the requests that were redriven to it count as enqueued.
    if (!before.fannedOut) this.sums.enqueue(target, countRedriven(sheet) - countRedriven(before.sheet));
    for (const [what, count] of counts) this.sums.count(target, what, count);
  }

  #change(key: string, change: Partial<TargetSheet>): void {
    const version = (this.#page.sheets.get(key)?.version ?? 0) + 1;
    this.#changed.set(key, { ...this.#sheetAt(key), ...change, version });
  }
}

const emptySheet: TargetSheet = { fannedOut: false, version: 0, sheet: new Uint8Array() };

function withMark(marks: readonly number[] | undefined, mark: number): readonly number[] {
  return [...(marks ?? []), mark].slice(-marksKept);
}
