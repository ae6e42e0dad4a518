import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import { type FateSheet, noteFates, withdrawFate } from "../fate-sheet.ts";
import type { FannedOutPack, Fate, Settlement } from "../port.ts";
import { packPartition } from "./keys.ts";
import { Sums } from "./ledger-sums.ts";
import type { Change, Item, ItemKey } from "./table-client.ts";

/** The item of one pack as it was read. */
export interface Page {
  /** Whether its agent was credited with it. */
  readonly arrived: boolean;
  readonly shares: ReadonlyMap<string, Share>;
  /** By writer: its last operations on this page, each as its number or, where it was barred, as minus its number. */
  readonly marks: ReadonlyMap<string, readonly number[]>;
}

/** What is known of a pack at one target. */
export interface Share {
  readonly fannedOut: boolean;
  /** Grows with each write: a share that looks as it once did is another one. */
  readonly version: number;
  readonly sheet: FateSheet;
}

/** What a page says of an operation: `open` may still be made, of one that is `forgotten` the page no longer knows. */
export type Verdict = "made" | "barred" | "open" | "forgotten";

export const emptyPage: Page = { arrived: false, shares: new Map(), marks: new Map() };

export function toPageKey(pack: string): ItemKey {
  return { pk: packPartition(pack), sk: "page" };
}

/** The pack of an item that was read with such a key. */
export function toPack(item: Item): string {
  return String(item.pk.S).slice(packPartition("").length);
}

export function toPage(item: Item | undefined): Page {
  if (!item) return emptyPage;
  const attributes = Object.entries(item);
  return {
    arrived: item.arrived?.BOOL === true,
    shares: new Map(
      attributes.flatMap(([name, { B }]) =>
        name.startsWith(sharePrefix) && B ? [[name.slice(sharePrefix.length), decodeShare(B)]] : [],
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

/** What became of an operation that its writer has announced. */
export function judge(page: Page, writer: string, operation: number): Verdict {
  const marks = page.marks.get(writer) ?? [];
  if (marks.includes(operation)) return "made";
  if (marks.includes(-operation)) return "barred";
  return marks.length === marksKept && operation < Math.abs(marks[0]) ? "forgotten" : "open";
}

/** Makes an open operation impossible, whoever is about to make it. */
export function toBar(page: Page, writer: string, operation: number, expiresAt: number): Change {
  return new PageDraft(page).toChange(writer, -operation, expiresAt);
}

/** What an operation makes of a page: the new page, and what it adds to the sums. */
export class PageDraft {
  readonly sums = new Sums();
  readonly #page: Page;
  readonly #changed = new Map<string, Share>();
  #arrives = false;

  constructor(page: Page) {
    this.#page = page;
  }

  get changed(): boolean {
    return this.#arrives || this.#changed.size > 0;
  }

  fanOut({ agent, sequence, requests, targets }: FannedOutPack): void {
    if (!this.#page.arrived && !this.#arrives) {
      this.#arrives = true;
      this.sums.arrive(agent, requests, sequence);
    }
    for (const [target, settlement] of targets) {
      // A target can be new in a second attempt; one that is not keeps what the first attempt did.
      if (this.#share(target).fannedOut) continue;
      this.#change(target, { fannedOut: true });
      this.sums.enqueue(target, requests);
      this.settle(target, settlement);
    }
  }

  settle(target: string, settlement: Settlement): void {
    const { sheet, noted } = noteFates(this.#share(target).sheet, settlement);
    if (noted.size === 0) return;
    this.#change(target, { sheet });
    for (const [fate, requests] of noted) this.sums.count(target, fate, requests);
  }

  unsettle(target: string, indexes: readonly number[], fate: Fate): void {
    const { sheet, withdrawn } = withdrawFate(this.#share(target).sheet, indexes, fate);
    if (withdrawn === 0) return;
    this.#change(target, { sheet });
    this.sums.count(target, fate, -withdrawn);
  }

  /** Fails where somebody else was first: what is written, and this writer's own marks, must be as they were read. */
  toChange(writer: string, mark: number, expiresAt: number): Change {
    const { shares, marks } = this.#page;
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
    Array.from(this.#changed).forEach(([target, share], i) => {
      const seen = shares.get(target);
      // Short: an expression has 4 KB, which is enough for a hundred targets.
      names[`#s${i}`] = sharePrefix + target;
      sets.push(`#s${i} = :s${i}`);
      values[`:s${i}`] = { B: encodeShare(share) };
      conditions.push(seen ? `#s${i} = :o${i}` : `attribute_not_exists(#s${i})`);
      if (seen) values[`:o${i}`] = { B: encodeShare(seen) };
    });
    return { update: `SET ${sets.join(", ")}`, condition: conditions.join(" AND "), names, values };
  }

  #share(target: string): Share {
    return this.#changed.get(target) ?? this.#page.shares.get(target) ?? emptyShare;
  }

  #change(target: string, change: Partial<Share>): void {
    const version = (this.#page.shares.get(target)?.version ?? 0) + 1;
    this.#changed.set(target, { ...this.#share(target), ...change, version });
  }
}

const sharePrefix = "share#";
const marksPrefix = "marks#";
// A writer asks for the next operation on a page only once the last one is in its sums: more than one is for readers that
// read the page some operations later than the sums.
const marksKept = 4;
const emptyShare: Share = { fannedOut: false, version: 0, sheet: new Uint8Array() };
const shareHeaderBytes = 5;

function encodeShare({ fannedOut, version, sheet }: Share): Uint8Array {
  const bytes = new Uint8Array(shareHeaderBytes + sheet.length);
  bytes[0] = fannedOut ? 1 : 0;
  new DataView(bytes.buffer).setUint32(1, version);
  bytes.set(sheet, shareHeaderBytes);
  return bytes;
}

function decodeShare(bytes: Uint8Array): Share {
  return {
    fannedOut: bytes[0] === 1,
    version: new DataView(bytes.buffer, bytes.byteOffset).getUint32(1),
    sheet: bytes.subarray(shareHeaderBytes),
  };
}
