import { createHash } from "node:crypto";
import type { ItemKey } from "./table-client.ts";

// The partitions of the table. `infra/` uses them too: its policies name the partitions that a function may use.

/** Settings, breaker and slots of a target. */
export function targetPartition(target: string): string {
  return `target#${target}`;
}

/** A target's figures by minute. */
export function figuresPartition(target: string): string {
  return `minute#${target}`;
}

/** Fates of requests at all targets, by page; `*` for all pages. */
export function packPartition(page: string): string {
  return `pack#${page}`;
}

/** A part of the tallies of all processes; `*` for all parts. */
export function tallyPartition(part: number | "*"): string {
  return `tally#${part}`;
}

/** The partition that versions before used for all tallies. */
export const oldTallyPartition = "tally";

/** The sums of folded tallies, for a part of the names; `*` for all parts. */
export function ledgerPartition(part: number | "*"): string {
  return `ledger#${part}`;
}

export function baseKeyOf(part: number): ItemKey {
  return { pk: ledgerPartition(part), sk: "base" };
}

/** The row of a run that was folded, beside the base that has folded it. A hash: the names in packs may be longer than a key. */
export function endedRunKeyOf(basePartition: string, run: string): ItemKey {
  return { pk: basePartition, sk: `run#${createHash("sha256").update(run).digest("base64url")}` };
}

/** The partition, and its item, in which versions before kept the sums of all folded tallies. */
export const oldLedgerPartition = "ledger";
export const oldBaseKey: ItemKey = { pk: oldLedgerPartition, sk: "base" };

export const jobsPartition = "job";
