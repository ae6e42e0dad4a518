import { jobIdOf } from "../../job/job.ts";
import { formerAgents, homeOf, keptAsideMs, missingPacksOf, silentMs } from "../ended-runs.ts";
import type { EndedRuns, RunTotals } from "../port.ts";
import type { StateFile } from "./sql.ts";

/** The rows of agents' runs that have ended, see ended-runs.ts. Call all methods in a transaction. */
export class EndedRunRows {
  readonly #file: StateFile;

  constructor(file: StateFile) {
    this.#file = file;
  }

  /**
   * Call it before a pack of the run is counted: brings back the row of a run that was folded. A process of a version before may
   * have begun a second row meanwhile.
   */
  hear(run: string): void {
    const { statements } = this.#file;
    // The jobs fold their rows themselves.
    if (jobIdOf(run) !== undefined) return;
    statements.hear.run(run, this.#file.nowMs());
    const ended = this.#endedRun(run);
    if (!ended) return;
    this.#addToEnded(this.#sumWith(run, ended), -1, ended);
    statements.dropEndedRun.run(ended.id);
    statements.addToRun.run(run, ended.packs, ended.requests, ended.lastSequence);
  }

  /** Folds the rows of runs that are silent, or too many, and a part of them if there is a backlog. */
  fold(): void {
    const { statements } = this.#file;
    const nowMs = this.#file.nowMs();
    // Rows that a version before has written.
    for (const { agent } of statements.unheard.all(atOnce)) this.hear(String(agent));
    // Before the runs: an agent whose sum begins anew in this call has only runs with higher ids.
    this.#foldAgents(nowMs);
    const surplus = Number(statements.countHeard.get()?.runs) - runsMost;
    for (const [index, { agent, heardMs }] of statements.longestSilent.all(atOnce).entries()) {
      if (index < surplus || Number(heardMs) <= nowMs - silentMs) this.#endRun(String(agent), nowMs);
    }
    statements.pruneEndedRuns.run(nowMs, atOnce);
  }

  /** The sums, without the runs that are asked for, which have rows of their own. */
  list(runs: readonly string[]): { readonly listed: readonly NamedRun[]; readonly ended: readonly EndedRuns[] } {
    const { statements } = this.#file;
    const sums = new Map(
      (statements.ended.all() as unknown as EndedRuns[]).map((ended) => [ended.agent, { ...ended }] as const),
    );
    const listed = [...new Set(runs)].flatMap((run): NamedRun[] => {
      const found = this.#endedRun(run);
      const sum = found && sums.get(this.#sumWith(run, found));
      if (!sum) return [];
      const { packs, requests, lastSequence } = found;
      sums.set(sum.agent, {
        ...sum,
        runs: sum.runs - 1,
        packs: sum.packs - packs,
        requests: sum.requests - requests,
        missingPacks: sum.missingPacks - missingPacksOf(found),
      });
      return [{ agent: run, packs, requests, lastSequence }];
    });
    return { listed, ended: [...sums.values()].filter((sum) => sum.runs > 0) };
  }

  #endRun(run: string, nowMs: number): void {
    const { statements } = this.#file;
    const totals = statements.run.get(run) as RunTotals | undefined;
    statements.dropHeard.run(run);
    if (!totals) return;
    const { packs, requests, lastSequence } = totals;
    const id = Number(statements.endRun.get(run, packs, requests, lastSequence, nowMs + keptAsideMs)?.id);
    this.#addToEnded(homeOf(run), 1, totals, id, nowMs);
    statements.dropAgent.run(run);
  }

  #foldAgents(nowMs: number): void {
    const { statements } = this.#file;
    const surplus = Number(statements.countEnded.get()?.agents) - agentsMost;
    for (const [index, row] of statements.longestEnded.all(formerAgents, atOnce).entries()) {
      const agent = String(row.agent);
      const gone = Number(row.foldedMs) <= nowMs - silentMs && !statements.hearsAgent.get(agent);
      if (!gone && index >= surplus) continue;
      statements.addToEnded.run(formerAgents, row.runs, row.packs, row.requests, row.missing, 0, nowMs);
      statements.dropEnded.run(agent);
    }
  }

  #endedRun(run: string): (RunTotals & { readonly id: number }) | undefined {
    return this.#file.statements.endedRun.get(run) as (RunTotals & { readonly id: number }) | undefined;
  }

  /** The agent whose sum includes the run. */
  #sumWith(run: string, { id }: { readonly id: number }): string {
    const since = this.#file.statements.endedSince.get(homeOf(run))?.since;
    return since === undefined || id < Number(since) ? formerAgents : homeOf(run);
  }

  /** @param runs 1 to add a run, -1 to take it out */
  #addToEnded(agent: string, runs: 1 | -1, run: RunTotals, since = 0, nowMs = 0): void {
    const { statements } = this.#file;
    const missing = runs * missingPacksOf(run);
    statements.addToEnded.run(agent, runs, runs * run.packs, runs * run.requests, missing, since, nowMs);
    statements.dropEmptyEnded.run(agent);
  }
}

// Rows of one call, which blocks the event loop.
const atOnce = 500;
// Each call of `totals` reads these rows.
const runsMost = 2_000;
const agentsMost = 1_000;

type NamedRun = RunTotals & { readonly agent: string };
