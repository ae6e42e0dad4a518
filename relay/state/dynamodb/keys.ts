// The partitions of the table. `infra/` uses them too: its policies name the partitions that a function may use.

/** Settings, breaker and slots of a target. */
export function targetPartition(target: string): string {
  return `target#${target}`;
}

/** A target's figures by minute. */
export function figuresPartition(target: string): string {
  return `minute#${target}`;
}

/** Fates of a pack's requests, at all targets; `*` for all packs. */
export function packPartition(pack: string): string {
  return `pack#${pack}`;
}

export const jobsPartition = "job";

/** The sums of the tallies that were folded, see `Tallies`. */
export const ledgerPartition = "ledger";
