import { printable } from "../pack/request-text.ts";
import { formatTable, plural } from "./command-line.ts";

export type ImportFate = "new" | "present" | "leftOut";

// Hosts and reasons beyond these numbers are counted together.
const maxKnownHosts = 1_000;
const maxShownHosts = 20;
const shownHostChars = 80;
const otherHosts = "(other hosts)";

/** Counts what becomes of the requests of an import. */
export class ImportTally {
  readonly #byReason = new Map<string, number>();
  readonly #byHost = new Map<string, Record<ImportFate, number>>();

  /** Counts a request; `host` is empty if it is not known. */
  count(fate: ImportFate, host: string): void {
    const shown = host.length > shownHostChars ? `${host.slice(0, shownHostChars)}…` : host.toLowerCase();
    const key = this.#byHost.has(shown) || this.#byHost.size < maxKnownHosts ? shown : otherHosts;
    const counts = this.#byHost.get(key) ?? { new: 0, present: 0, leftOut: 0 };
    this.#byHost.set(key, counts);
    counts[fate]++;
  }

  leaveOut(reason: string, host: string): void {
    this.#byReason.set(reason, (this.#byReason.get(reason) ?? 0) + 1);
    this.count("leftOut", host);
  }

  /** How many hosts requests were imported from. */
  get importedHosts(): number {
    return [...this.#byHost].filter(([host, counts]) => host !== "" && counts.new + counts.present > 0).length;
  }

  /** A line for each reason to leave requests out, the most frequent first. */
  formatReasons(): string {
    const reasons = [...this.#byReason].sort(([, a], [, b]) => b - a);
    const total = reasons.reduce((sum, [, count]) => sum + count, 0);
    if (total === 0) return "";
    const lines = reasons.map(([reason, count]) => `  ${count.toLocaleString("en-US")}  ${reason}\n`);
    return `left out ${plural(total, "request")}:\n${lines.join("")}`;
  }

  /** A table by host, the most frequent first; empty if no request names its host. */
  formatHosts(stream: NodeJS.WriteStream): string {
    if ([...this.#byHost.keys()].every((host) => host === "")) return "";
    const sorted = [...this.#byHost].sort(([, a], [, b]) => sum(b) - sum(a));
    const rows = sorted
      .slice(0, maxShownHosts)
      .map(([host, counts]) => toRow(printable(host) || "(not known)", counts));
    const others = sorted.slice(maxShownHosts).map(([, counts]) => counts);
    if (others.length > 0) rows.push(toRow(`${otherHosts.slice(0, -1)}: ${others.length})`, total(others)));
    return `${formatTable([["host", "new", "already there", "left out"], ...rows], stream)}\n`;
  }
}

function toRow(host: string, counts: Record<ImportFate, number>): string[] {
  return [host, ...[counts.new, counts.present, counts.leftOut].map((count) => count.toLocaleString("en-US"))];
}

function total(all: readonly Record<ImportFate, number>[]): Record<ImportFate, number> {
  const add = (fate: ImportFate) => all.reduce((count, counts) => count + counts[fate], 0);
  return { new: add("new"), present: add("present"), leftOut: add("leftOut") };
}

function sum({ new: added, present, leftOut }: Record<ImportFate, number>): number {
  return added + present + leftOut;
}
