import { jobIdOf } from "../../job/job.ts";
import { agentOf } from "../ended-runs.ts";
import { type EndedRun, EndedSums, type EndedSumsJson, runsToFold } from "./ended-sums.ts";
import { Sums, type SumsJson } from "./ledger-sums.ts";
import type { Item, ItemKey } from "./table-client.ts";
import type { TallyLayout } from "./tally-layout.ts";

/** The sums of folded tallies, for a part of the names. */
export interface Base {
  /** Changes with each write; undefined before the first write. */
  readonly generation: string | undefined;
  /** Grows with each write. Versions before leave it as it is. */
  readonly number: number;
  readonly sums: Sums;
  /** The sums of runs that have ended; their rows are not in `sums`. */
  readonly ended: EndedSums;
  /** The writers whose tallies are included in `sums` and may not be deleted yet. */
  readonly folded: ReadonlySet<string>;
}

export function toBase(item: Item | undefined): Base {
  return {
    generation: item?.generation?.S,
    number: Number(item?.writeNumber?.N ?? 0),
    sums: Sums.parse(JSON.parse(item?.sums?.S ?? "{}") as SumsJson),
    ended: EndedSums.parse(JSON.parse(item?.endedRuns?.S ?? "{}") as EndedSumsJson),
    folded: new Set(item?.folded?.S?.split(" ").filter((writer) => writer !== "")),
  };
}

/** The runs of agents in `more`, or in `others`, that have no row in the base: they are new, or were folded. */
export function runsWithoutRow({ sums }: Base, more: Iterable<Sums>, others: Iterable<string> = []): Set<string> {
  const runs = [...Array.from(more, (part) => part.agents()).flat(), ...others];
  return new Set(runs.filter((run) => jobIdOf(run) === undefined && !sums.row(run)));
}

/** Gives runs that were folded their rows again. */
export function restoreRuns({ sums, ended }: Pick<Base, "sums" | "ended">, runs: ReadonlyMap<string, EndedRun>): void {
  for (const [run, row] of runs) {
    ended.takeOut(run, row);
    sums.keepRow(run, row);
  }
}

/** The runs whose rows the next write of a base folds, without those that it adds packs to. */
export function rowsToFold(sums: Sums, fresh: ReadonlySet<string>, day: number): readonly string[] {
  const runs = sums.agents().filter((run) => jobIdOf(run) === undefined && !fresh.has(run));
  return runsToFold(
    runs.map((run) => [run, sums.row(run)?.heardDay ?? day]),
    day,
  );
}

/** The sums of a layout: those that are listed by name, and those of runs that have ended. */
export interface AllSums {
  readonly sums: Sums;
  readonly ended: EndedSums;
}

/** All bases as they were read. */
export class BasesRead {
  readonly #bases: readonly Base[];
  readonly #layout: TallyLayout;

  constructor(bases: readonly Base[], layout: TallyLayout) {
    this.#bases = bases;
    this.#layout = layout;
  }

  /** Whether a tally is included in each base. */
  haveAll(writer: string): boolean {
    return this.#bases.every(({ folded }) => folded.has(writer));
  }

  /** Whether none was written between two reads. */
  areSame(others: BasesRead): boolean {
    return this.#bases.every(({ generation }, index) => generation === others.#bases[index].generation);
  }

  /** The bases that have something to fold, and the agents that have a row in any base, or had one lately. */
  toEnd(day: number): { readonly alive: ReadonlySet<string>; readonly keys: readonly ItemKey[] } {
    const alive = new Set(
      this.#bases.flatMap(({ sums, ended }) => [...sums.agents().map(agentOf), ...ended.recent(day)]),
    );
    const keys = this.#layout.bases.filter((_, index) => {
      const { sums, ended } = this.#bases[index];
      return sums.hear(day) || ended.foldAgents(alive, day) || rowsToFold(sums, new Set(), day).length > 0;
    });
    return { alive, keys };
  }

  /** The runs of the tallies, and `others`, that have no row in their base, each with the partition of the base. */
  runsWithoutRow(tallies: Iterable<Sums>, others: Iterable<string>): ReadonlyMap<string, string> {
    const runs = new Set([...Array.from(tallies, (sums) => sums.agents()).flat(), ...others]);
    const { bases, baseOf } = this.#layout;
    return new Map(
      [...runs]
        .filter((run) => runsWithoutRow(this.#bases[baseOf(run)], [], [run]).size > 0)
        .map((run) => [run, bases[baseOf(run)].pk]),
    );
  }

  /**
   * The sums of the bases, and of the tallies, by writer, as far as the bases do not include them.
   *
   * @param ended the rows of those `runsWithoutRow` that were folded
   */
  sumWith(tallies: ReadonlyMap<string, Sums>, ended: ReadonlyMap<string, EndedRun>): AllSums {
    const all = { sums: new Sums(), ended: new EndedSums() };
    for (const [index, base] of this.#bases.entries()) {
      restoreRuns(base, new Map([...ended].filter(([run]) => this.#layout.baseOf(run) === index)));
      all.sums.add(base.sums);
      all.ended.add(base.ended);
    }
    for (const [writer, sums] of tallies) {
      for (const [index, part] of sums.split(this.#layout.baseOf)) {
        if (!this.#bases[index].folded.has(writer)) all.sums.add(part);
      }
    }
    return all;
  }
}
