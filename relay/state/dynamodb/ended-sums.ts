import { formerAgents, homeOf, missingPacksOf, silentMs } from "../ended-runs.ts";
import type { EndedRuns, RunTotals } from "../port.ts";

/** A run that was folded, as it was then. */
export interface EndedRun extends RunTotals {
  /** The number of the write of the base that folded it. */
  readonly foldNumber: number;
}

/** The sums of runs that have ended, by agent, see ended-runs.ts: of one base, or of all. */
export class EndedSums {
  readonly #agents = new Map<string, EndedSum>();

  static parse(json: EndedSumsJson): EndedSums {
    const sums = new EndedSums();
    for (const [agent, [runs, packs, requests, missing, since, foldedDay]] of Object.entries(json)) {
      sums.#agents.set(agent, { runs, packs, requests, missing, since, foldedDay });
    }
    return sums;
  }

  toJSON(): EndedSumsJson {
    return Object.fromEntries(
      Array.from(this.#agents, ([agent, { runs, packs, requests, missing, since, foldedDay }]) => [
        agent,
        [runs, packs, requests, missing, since, foldedDay],
      ]),
    );
  }

  /** Adds a run that is folded by this write of the base. */
  fold(run: string, totals: EndedRun, day: number): void {
    this.#add(homeOf(run), 1, totals, { since: totals.foldNumber, foldedDay: day });
  }

  /** Takes a run out of its sum. */
  takeOut(run: string, ended: EndedRun): void {
    const { since } = this.#agents.get(homeOf(run)) ?? {};
    // Runs that were folded before the sum of their agent began are among the former agents.
    const agent = since === undefined || ended.foldNumber < since ? formerAgents : homeOf(run);
    this.#add(agent, -1, ended, { since: 0, foldedDay: 0 });
    if (this.#agents.get(agent)?.runs === 0) this.#agents.delete(agent);
  }

  /**
   * Adds agents that are gone to the former agents, and the longest silent of too many. Call it before runs are folded by the
   * same write: an agent whose sum begins anew then has only runs with this fold number or a higher one. Whether it added any.
   *
   * @param alive the agents that are not gone; undefined if that is unknown: then none is
   */
  foldAgents(alive: ReadonlySet<string> | undefined, day: number): boolean {
    let folded = false;
    const longestFirst = [...this.#agents]
      .filter(([agent]) => agent !== formerAgents)
      .sort(([, a], [, b]) => a.foldedDay - b.foldedDay);
    let bytes = longestFirst.reduce((sum, [agent]) => sum + bytesOf(agent), 0);
    for (const [agent, sum] of longestFirst) {
      const gone = alive !== undefined && !alive.has(agent);
      if (!gone && bytes <= bytesMost) continue;
      bytes -= bytesOf(agent);
      folded = true;
      this.#agents.delete(agent);
      this.#addSum(formerAgents, { ...sum, since: 0, foldedDay: day });
    }
    return folded;
  }

  /** The agents of which a run was added lately. */
  recent(day: number): readonly string[] {
    return [...this.#agents].filter(([, { foldedDay }]) => !isSilent(foldedDay, day)).map(([agent]) => agent);
  }

  add(more: EndedSums): void {
    for (const [agent, sum] of more.#agents) this.#addSum(agent, sum);
  }

  /** Sorted by name. */
  toTotals(): readonly EndedRuns[] {
    return [...this.#agents]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([agent, { runs, packs, requests, missing }]) => ({ agent, runs, packs, requests, missingPacks: missing }));
  }

  #add(agent: string, runs: 1 | -1, run: RunTotals, times: Pick<EndedSum, "since" | "foldedDay">): void {
    const missing = runs * missingPacksOf(run);
    this.#addSum(agent, { runs, packs: runs * run.packs, requests: runs * run.requests, missing, ...times });
  }

  #addSum(agent: string, { runs, packs, requests, missing, since, foldedDay }: EndedSum): void {
    const sum = this.#agents.get(agent);
    this.#agents.set(agent, {
      runs: runs + (sum?.runs ?? 0),
      packs: packs + (sum?.packs ?? 0),
      requests: requests + (sum?.requests ?? 0),
      missing: missing + (sum?.missing ?? 0),
      since: sum?.since ?? since,
      foldedDay: Math.max(foldedDay, sum?.foldedDay ?? 0),
    });
  }
}

/** A row with the time since 1970, in days, at which something last arrived. */
type Heard = readonly [run: string, heardDay: number];

/** Which runs a write of the base folds: silent ones, and the longest silent of too many. */
export function runsToFold(runs: readonly Heard[], day: number): readonly string[] {
  let bytes = runs.reduce((sum, [run]) => sum + bytesOf(run), 0);
  const longestFirst = [...runs].sort(([, a], [, b]) => a - b).slice(0, atOnce);
  return longestFirst.flatMap(([run, heardDay]) => {
    if (!isSilent(heardDay, day) && bytes <= bytesMost) return [];
    bytes -= bytesOf(run);
    return [run];
  });
}

export function toDay(ms: number): number {
  return Math.floor(ms / dayMs);
}

function isSilent(lastDay: number, day: number): boolean {
  // The last day may have ended just after the run was heard of.
  return (day - lastDay - 1) * dayMs >= silentMs;
}

/** Roughly what a name and its numbers occupy. */
function bytesOf(name: string): number {
  return Buffer.byteLength(name) + numbersBytes;
}

const dayMs = 86_400_000;
const numbersBytes = 40;
// Each KB of a base is billed with each write, and it may have 400. Enough for about 300 runs, and 300 agents, in each base.
const bytesMost = 20_000;
// Each of them costs a write.
const atOnce = 100;

interface EndedSum {
  readonly runs: number;
  readonly packs: number;
  readonly requests: number;
  readonly missing: number;
  /** The fold number of the first run in the sum. */
  readonly since: number;
  /** When the last run was added. */
  readonly foldedDay: number;
}

/** By agent: runs, packs, requests, missing packs, `since` and `foldedDay`. */
export type EndedSumsJson = Readonly<Record<string, readonly [number, number, number, number, number, number]>>;
