import { randomUUID } from "node:crypto";
import { forgottenJobsKey, jobIdOf } from "../../job/job.ts";
import { type Jobs, StateError } from "../port.ts";
import { type Base, BasesRead, restoreRuns, rowsToFold, runsWithoutRow, toBase } from "./base.ts";
import { EndedRunItems } from "./ended-run-items.ts";
import { type EndedRun, toDay } from "./ended-sums.ts";
import { oldBaseKey } from "./keys.ts";
import type { Sums } from "./ledger-sums.ts";
import type { ItemKey, TableClient } from "./table-client.ts";
import type { TallyLayout } from "./tally-layout.ts";

/** The sums of folded tallies, each base with a part of the names. All methods throw `StateError`. */
export class Bases {
  readonly #client: TableClient;
  readonly #layout: TallyLayout;
  readonly #jobs: Pick<Jobs, "list" | "foreign">;
  readonly #endedRuns: EndedRunItems;
  readonly #now: () => number;
  #endedRunsOn: number | undefined;

  constructor(client: TableClient, layout: TallyLayout, jobs: Pick<Jobs, "list" | "foreign">, now: () => number) {
    this.#client = client;
    this.#layout = layout;
    this.#jobs = jobs;
    this.#endedRuns = new EndedRunItems(client, now);
    this.#now = now;
  }

  async read(): Promise<BasesRead> {
    const items = await this.#client.getAll(this.#layout.bases);
    return new BasesRead(
      this.#layout.bases.map(({ pk }) => toBase(items.find((item) => item.pk.S === pk))),
      this.#layout,
    );
  }

  /** The rows of those runs that were folded. Call it between two reads of the bases that are the same. */
  async readEnded(
    bases: BasesRead,
    tallies: Iterable<Sums>,
    runs: readonly string[],
  ): Promise<ReadonlyMap<string, EndedRun>> {
    return this.#layout.endsRuns ? this.#endedRuns.read(bases.runsWithoutRow(tallies, runs)) : new Map();
  }

  /**
   * Adds the sums of tallies, by writer, each once. If this throws or the process dies, some bases have them and others do not:
   * the tallies must be kept, and added again.
   */
  async add(sums: ReadonlyMap<string, Sums>): Promise<void> {
    const parts = this.#layout.bases.map(() => new Map<string, Sums>());
    for (const [writer, all] of sums) {
      for (const [index, part] of all.split(this.#layout.baseOf)) parts[index].set(writer, part);
    }
    const keys = this.#layout.bases;
    await Promise.all(parts.flatMap((part, index) => (part.size === 0 ? [] : [this.#addTo(keys[index], part)])));
  }

  /** Folds the rows of runs that have ended, also in bases that no tally is added to. Once a day is enough, and done. */
  async endRuns(): Promise<void> {
    const day = toDay(this.#now());
    if (!this.#layout.endsRuns || this.#endedRunsOn === day) return;
    const { alive, keys } = (await this.read()).toEnd(day);
    const written = await Promise.all(keys.map((key) => this.#addTo(key, new Map(), alive)));
    // A base that was written may have more to fold.
    if (!written.includes(true)) this.#endedRunsOn = day;
  }

  /**
   * Adds tallies, and folds rows. Whether the base was written.
   *
   * @param alive the agents that are not gone, if that is known
   */
  async #addTo(key: ItemKey, sums: ReadonlyMap<string, Sums>, alive?: ReadonlySet<string>): Promise<boolean> {
    for (let tries = 0; tries < triesMost; tries++) {
      const base = toBase(await this.#client.get(key));
      // Read after the base: a process that added and deleted a tally in between has also changed the base.
      const tallies = [...new Set([...sums.keys(), ...base.folded])].map(this.#layout.keyOf);
      const present = new Set((await this.#client.getAll(tallies)).map(({ sk }) => String(sk.S)));
      const added = [...sums].filter(([writer]) => present.has(writer) && !base.folded.has(writer));
      if (added.length === 0 && sums.size > 0) return false;
      const more = added.map(([, part]) => part);
      const day = toDay(this.#now());
      if (this.#layout.endsRuns) {
        const missing = [...runsWithoutRow(base, more)].map((run) => [run, key.pk] as const);
        restoreRuns(base, await this.#endedRuns.read(new Map(missing)));
      }
      for (const part of more) base.sums.add(part);
      // Rows that versions before have written.
      const heard = base.sums.hear(day);
      const foldedAgents = base.ended.foldAgents(alive, day);
      const foldedRuns = this.#layout.endsRuns && (await this.#foldRuns(key, base, more, day));
      if (added.length === 0 && !heard && !foldedAgents && !foldedRuns) return false;
      await this.#forgetJobs(base.sums);
      const folded = [...base.folded, ...added.map(([writer]) => writer)].filter((writer) => present.has(writer));
      const generation = randomUUID();
      const { written, item } = await this.#client.update(key, {
        update: "SET generation = :next, writeNumber = :number, sums = :sums, endedRuns = :ended, folded = :folded",
        condition: base.generation === undefined ? "attribute_not_exists(generation)" : "generation = :seen",
        values: {
          ":next": { S: generation },
          ":number": { N: `${base.number + 1}` },
          ":sums": { S: JSON.stringify(base.sums) },
          ":ended": { S: JSON.stringify(base.ended) },
          ":folded": { S: folded.join(" ") },
          ...(base.generation !== undefined && { ":seen": { S: base.generation } }),
        },
      });
      if (written || item?.generation?.S === generation) return true;
    }
    throw new StateError(`other processes folded the ledger first, ${triesMost} times; this is temporary`);
  }

  /** Moves the rows of runs that have ended, except those that just got more packs, into their sums. Whether it moved any. */
  async #foldRuns(
    { pk }: ItemKey,
    { sums, ended, number }: Base,
    more: readonly Sums[],
    day: number,
  ): Promise<boolean> {
    const fresh = more.flatMap((part) => part.agents());
    if (rowsToFold(sums, new Set(fresh), day).length === 0) return false;
    // A run with a second row, in the base of versions before, has more packs than this row. It stays, and takes no other's place.
    const { sums: others } = toBase(await this.#client.get(oldBaseKey));
    const chosen = rowsToFold(sums, new Set([...fresh, ...others.agents()]), day);
    const folded = await Promise.all(
      chosen.map(async (run) => {
        const row = sums.row(run);
        if (!row) return false;
        const endedRun = { ...row, foldNumber: number + 1 };
        if (!(await this.#endedRuns.write(pk, run, endedRun))) return false;
        ended.fold(run, endedRun, day);
        sums.dropRow(run);
        return true;
      }),
    );
    return folded.includes(true);
  }

  /** Moves the sums of deleted jobs to one common name: an item has room for the names of 2,000 to 3,000 jobs. */
  async #forgetJobs(sums: Sums): Promise<void> {
    const named = [...sums.names()].filter((name) => jobIdOf(name) !== undefined && name !== forgottenJobsKey);
    if (named.length === 0) return;
    // Listed after the sums were read: a job whose name is in the sums exists by then, unless it was deleted.
    const [known, foreign] = await Promise.all([this.#jobs.list(), this.#jobs.foreign()]);
    const kept = new Set([...known.map(({ job }) => job.id), ...foreign.map(({ id }) => id)]);
    for (const name of named) if (!kept.has(String(jobIdOf(name)))) sums.move(name, forgottenJobsKey);
  }
}

const triesMost = 8;
