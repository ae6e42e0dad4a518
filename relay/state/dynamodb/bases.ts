import { randomUUID } from "node:crypto";
import { forgottenJobsKey, jobIdOf } from "../../job/job.ts";
import { type Jobs, StateError } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import type { Item, ItemKey, TableClient } from "./table-client.ts";
import type { TallyLayout } from "./tally-layout.ts";

/** The sums of folded tallies, each base with a part of the names. All methods throw `StateError`. */
export class Bases {
  readonly #client: TableClient;
  readonly #layout: TallyLayout;
  readonly #jobs: Pick<Jobs, "list" | "foreign">;

  constructor(client: TableClient, layout: TallyLayout, jobs: Pick<Jobs, "list" | "foreign">) {
    this.#client = client;
    this.#layout = layout;
    this.#jobs = jobs;
  }

  async read(): Promise<BasesRead> {
    const items = await this.#client.getAll(this.#layout.bases);
    return new BasesRead(
      this.#layout.bases.map(({ pk }) => toBase(items.find((item) => item.pk.S === pk))),
      this.#layout,
    );
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
    await Promise.all(parts.map((part, index) => this.#addTo(this.#layout.bases[index], part)));
  }

  async #addTo(key: ItemKey, sums: ReadonlyMap<string, Sums>): Promise<void> {
    if (sums.size === 0) return;
    for (let tries = 0; tries < triesMost; tries++) {
      const base = toBase(await this.#client.get(key));
      // Read after the base: a process that added and deleted a tally in between has also changed the base.
      const tallies = [...new Set([...sums.keys(), ...base.folded])].map(this.#layout.keyOf);
      const present = new Set((await this.#client.getAll(tallies)).map(({ sk }) => String(sk.S)));
      const added = [...sums].filter(([writer]) => present.has(writer) && !base.folded.has(writer));
      if (added.length === 0) return;
      for (const [, more] of added) base.sums.add(more);
      await this.#forgetJobs(base.sums);
      const folded = [...base.folded, ...added.map(([writer]) => writer)].filter((writer) => present.has(writer));
      const generation = randomUUID();
      const { written, item } = await this.#client.update(key, {
        update: "SET generation = :next, sums = :sums, folded = :folded",
        condition: base.generation === undefined ? "attribute_not_exists(generation)" : "generation = :seen",
        values: {
          ":next": { S: generation },
          ":sums": { S: JSON.stringify(base.sums) },
          ":folded": { S: folded.join(" ") },
          ...(base.generation !== undefined && { ":seen": { S: base.generation } }),
        },
      });
      if (written || item?.generation?.S === generation) return;
    }
    throw new StateError(`other processes folded the ledger first, ${triesMost} times; this is temporary`);
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

  /** The sums of the bases, and of the tallies, by writer, as far as the bases do not include them. */
  sumWith(tallies: ReadonlyMap<string, Sums>): Sums {
    const all = new Sums();
    for (const { sums } of this.#bases) all.add(sums);
    for (const [writer, sums] of tallies) {
      for (const [index, part] of sums.split(this.#layout.baseOf)) {
        if (!this.#bases[index].folded.has(writer)) all.add(part);
      }
    }
    return all;
  }
}

const triesMost = 8;

interface Base {
  /** Changes with each write; undefined before the first write. */
  readonly generation: string | undefined;
  readonly sums: Sums;
  /** The writers whose tallies are included in `sums` and may not be deleted yet. */
  readonly folded: ReadonlySet<string>;
}

function toBase(item: Item | undefined): Base {
  return {
    generation: item?.generation?.S,
    sums: Sums.parse(JSON.parse(item?.sums?.S ?? "{}")),
    folded: new Set(item?.folded?.S?.split(" ").filter((writer) => writer !== "")),
  };
}
