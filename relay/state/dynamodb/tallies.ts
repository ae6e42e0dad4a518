import { randomUUID } from "node:crypto";
import { forgottenJobsKey, jobIdOf } from "../../job/job.ts";
import { type Jobs, StateError } from "../port.ts";
import { Sums } from "./ledger-sums.ts";
import { emptyPackItem, judge } from "./pack-item.ts";
import type { PackItems } from "./pack-items.ts";
import type { Item, TableClient } from "./table-client.ts";
import { type StoredTally, tallyPartition, toStoredTally, toTallyKey } from "./writer-tally.ts";

/** The tallies of all processes, and the base: the sums of the tallies that were folded. All methods throw `StateError`. */
export class Tallies {
  readonly #client: TableClient;
  readonly #packItems: PackItems;
  readonly #jobs: Pick<Jobs, "list" | "foreign">;
  readonly #now: () => number;

  constructor(client: TableClient, packItems: PackItems, jobs: Pick<Jobs, "list" | "foreign">, now: () => number) {
    this.#client = client;
    this.#packItems = packItems;
    this.#jobs = jobs;
    this.#now = now;
  }

  /** The exact sums of everything that was ever recorded. */
  async sum(): Promise<Sums> {
    for (let tries = 0; tries < triesMost; tries++) {
      const base = toBase(await this.#client.get(baseKey));
      const tallies = (await this.#read()).filter(({ writer }) => !base.folded.has(writer));
      const sums = await this.#sumUp(tallies);
      // If a tally was folded between the reads, it is missing in the result or counted twice.
      if (sums && toBase(await this.#client.get(baseKey)).generation === base.generation) {
        sums.add(base.sums);
        return sums;
      }
    }
    throw new StateError(`the ledger changed during each of ${triesMost} reads; this is temporary`);
  }

  /**
   * Adds tallies that have ended, or were not written for an hour, to the base and deletes them, 25 per call. Each tally is
   * added once, even if a process dies half way or two processes fold at the same time. A writer that wakes up later finds
   * that its tally is gone and begins a new one.
   */
  async fold(): Promise<void> {
    const untilMs = this.#now() - idleMs;
    const old = (await this.#read()).filter(
      ({ sealed, ended, writtenAtMs }) => sealed || ended || writtenAtMs < untilMs,
    );
    const sums = new Map<string, Sums>();
    for (const tally of old.slice(0, foldedAtOnce)) {
      const sealed = tally.sealed ? tally : await this.#seal(tally);
      if (sealed) sums.set(sealed.writer, await this.#close(sealed));
    }
    if (sums.size === 0) return;
    await this.#addToBase(sums);
    for (const writer of sums.keys()) await this.#client.delete(toTallyKey(writer));
  }

  async #read(): Promise<readonly StoredTally[]> {
    return (await this.#client.query(tallyPartition)).map(toStoredTally);
  }

  /** Undefined if a pack was written so often meanwhile that its item has forgotten an announced operation. */
  async #sumUp(tallies: readonly StoredTally[]): Promise<Sums | undefined> {
    const sums = new Sums();
    const items = await this.#packItems.readAll(tallies.flatMap(({ announced }) => announced.map(({ pack }) => pack)));
    for (const { writer, announced, sums: counted } of tallies) {
      sums.add(counted);
      for (const { operation, pack, sums: more } of announced) {
        const verdict = judge(items.get(pack) ?? emptyPackItem, writer, operation);
        if (verdict === "forgotten") return undefined;
        if (verdict === "made") sums.add(more);
      }
    }
    return sums;
  }

  /** Seals a tally: its writer can no longer change it. Undefined if the writer changed it first. */
  async #seal(tally: StoredTally): Promise<StoredTally | undefined> {
    const { written, item } = await this.#client.update(toTallyKey(tally.writer), {
      update: "SET sealed = :sealed",
      condition: "generation = :seen AND attribute_not_exists(sealed)",
      values: { ":sealed": { BOOL: true }, ":seen": { N: `${tally.generation}` } },
    });
    if (written) return tally;
    return item?.sealed ? toStoredTally(item) : undefined;
  }

  /** The final sums of a sealed tally: bars the announced operations that were not made. */
  async #close({ writer, sums, announced }: StoredTally): Promise<Sums> {
    const all = new Sums();
    all.add(sums);
    for (const { operation, pack, sums: more } of announced) {
      if (await this.#packItems.decide(pack, writer, operation)) all.add(more);
    }
    return all;
  }

  async #addToBase(sums: ReadonlyMap<string, Sums>): Promise<void> {
    for (let tries = 0; tries < triesMost; tries++) {
      const base = toBase(await this.#client.get(baseKey));
      // Read after the base: a process that added and deleted a tally in between has also changed the base.
      const keys = [...new Set([...sums.keys(), ...base.folded])].map(toTallyKey);
      const present = new Set((await this.#client.getAll(keys)).map(({ sk }) => String(sk.S)));
      const added = [...sums].filter(([writer]) => present.has(writer) && !base.folded.has(writer));
      if (added.length === 0) return;
      for (const [, more] of added) base.sums.add(more);
      await this.#forgetJobs(base.sums);
      const folded = [...base.folded, ...added.map(([writer]) => writer)].filter((writer) => present.has(writer));
      const generation = randomUUID();
      const { written, item } = await this.#client.update(baseKey, {
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
    // Listed after the sums were read: a job whose name is in the sums exists by then, unless it was deleted.
    const [known, foreign] = await Promise.all([this.#jobs.list(), this.#jobs.foreign()]);
    const kept = new Set([...known.map(({ job }) => job.id), ...foreign.map(({ id }) => id)]);
    for (const name of sums.names()) {
      const id = jobIdOf(name);
      if (id !== undefined && !kept.has(id) && name !== forgottenJobsKey) sums.move(name, forgottenJobsKey);
    }
  }
}

// Longer than any function runs.
const idleMs = 3_600_000;
const foldedAtOnce = 25;
const triesMost = 8;
const baseKey = { pk: "ledger", sk: "base" };

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
