import type { KeyUse } from "./key-meter.ts";

/** Units a second that DynamoDB allows for one partition key. */
export const keyLimits = { writes: 1_000, reads: 3_000 } as const;

const titles: Readonly<Record<string, string>> = {
  tally: "tally: sums of a process",
  pack: "pack: fates of 20 packs",
  minute: "minute: figures of a target",
  target: "target: settings (without slots)",
  ledger: "ledger: sums of ended processes",
  job: "job: replay jobs",
};
const columns = ["writes/s of one key", "reads/s of one key", "writes/s in all", "reads/s in all", "largest item"];

/** A table with a line for each kind of partition key. */
export function toLines(uses: ReadonlyMap<string, KeyUse>): readonly string[] {
  const rows = [...uses].map(([kind, use]) => [
    titles[kind] ?? kind,
    rounded(use.writesOfOneKey),
    rounded(use.readsOfOneKey),
    rounded(use.writes),
    rounded(use.reads),
    `${use.largestWrite} KB`,
  ]);
  const width = Math.max(...rows.map(([title]) => title.length));
  return [["", ...columns], ...rows].map(([title, ...cells]) =>
    [title.padEnd(width), ...cells.map((cell, i) => cell.padStart(columns[i].length))].join("  "),
  );
}

function rounded(units: number): string {
  return units.toLocaleString("en-US", { maximumFractionDigits: units < 10 ? 1 : 0 });
}
