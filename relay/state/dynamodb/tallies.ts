import { type Jobs, StateError } from "../port.ts";
import type { AllSums } from "./base.ts";
import { Bases } from "./bases.ts";
import { toDay } from "./ended-sums.ts";
import { Sums } from "./ledger-sums.ts";
import { emptyPage, judge } from "./page.ts";
import type { Pages } from "./pages.ts";
import { type StoredTally, toStoredTally } from "./stored-tally.ts";
import type { TableClient } from "./table-client.ts";
import type { TallyLayout } from "./tally-layout.ts";

/**
 * The tallies of all processes, and the bases: the sums of the tallies that were folded, each base with a part of the names. All
 * methods throw `StateError`.
 */
export class Tallies {
  readonly #client: TableClient;
  readonly #pages: Pages;
  readonly #layout: TallyLayout;
  readonly #bases: Bases;
  readonly #now: () => number;

  constructor(
    client: TableClient,
    pages: Pages,
    jobs: Pick<Jobs, "list" | "foreign">,
    layout: TallyLayout,
    now: () => number,
  ) {
    this.#client = client;
    this.#pages = pages;
    this.#layout = layout;
    this.#bases = new Bases(client, layout, jobs, now);
    this.#now = now;
  }

  /**
   * The exact sums of everything that was ever recorded.
   *
   * @param runs have rows of their own even if they were folded
   */
  async sum(runs: readonly string[]): Promise<AllSums> {
    for (let tries = 0; tries < triesMost; tries++) {
      const bases = await this.#bases.read();
      const tallies = (await this.#read()).filter(({ writer }) => !bases.haveAll(writer));
      const ofTallies = await this.#sumUp(tallies);
      const ended = ofTallies && (await this.#bases.readEnded(bases, ofTallies.values(), runs));
      // If a tally was folded between the reads, it is missing in the result or counted twice.
      if (ended && bases.areSame(await this.#bases.read())) return bases.sumWith(ofTallies, ended);
    }
    throw new StateError(`the ledger changed during each of ${triesMost} reads; this is temporary`);
  }

  /**
   * Adds tallies that have ended, or were not written for an hour, to the bases and deletes them. Each tally is added once, even
   * if a process dies half way or two processes fold at the same time. A writer that wakes up later finds that its tally is gone
   * and begins a new one.
   */
  async fold(): Promise<void> {
    const untilMs = this.#now() - idleMs;
    const old = (await this.#read()).filter(
      ({ sealed, ended, writtenAtMs }) => sealed || ended || writtenAtMs < untilMs,
    );
    for (let start = 0; start < Math.min(old.length, foldedMost); start += foldedAtOnce) {
      await this.#foldTogether(old.slice(start, start + foldedAtOnce));
    }
    await this.#bases.endRuns();
  }

  async #foldTogether(tallies: readonly StoredTally[]): Promise<void> {
    const closed = await Promise.all(
      tallies.map(async (tally) => {
        const sealed = tally.sealed ? tally : await this.#seal(tally);
        return sealed && ([sealed.writer, await this.#close(sealed)] as const);
      }),
    );
    const sums = new Map(closed.filter((one) => one !== undefined));
    if (sums.size === 0) return;
    await this.#bases.add(sums);
    await Promise.all(Array.from(sums.keys(), (writer) => this.#client.delete(this.#layout.keyOf(writer))));
  }

  async #read(): Promise<readonly StoredTally[]> {
    const parts = await Promise.all(this.#layout.partitions.map((partition) => this.#client.query(partition)));
    return parts.flat().map(toStoredTally);
  }

  /** By writer. Undefined if a page was written so often meanwhile that it has forgotten an announced operation. */
  async #sumUp(tallies: readonly StoredTally[]): Promise<ReadonlyMap<string, Sums> | undefined> {
    const pages = await this.#pages.readAll(tallies.flatMap(({ announced }) => announced.map(({ page }) => page)));
    const byWriter = new Map<string, Sums>();
    for (const { writer, announced, sums } of tallies) {
      for (const { operation, page, sums: more } of announced) {
        const verdict = judge(pages.get(page) ?? emptyPage, writer, operation);
        if (verdict === "forgotten") return undefined;
        if (verdict === "made") sums.add(more);
      }
      byWriter.set(writer, sums);
    }
    return byWriter;
  }

  /** Seals a tally: its writer can no longer change it. Undefined if the writer changed it first. */
  async #seal(tally: StoredTally): Promise<StoredTally | undefined> {
    const { written, item } = await this.#client.update(tally.key, {
      update: "SET sealed = :sealed",
      condition: "generation = :seen AND attribute_not_exists(sealed)",
      values: { ":sealed": { BOOL: true }, ":seen": { N: `${tally.generation}` } },
    });
    if (written) return tally;
    return item?.sealed ? toStoredTally(item) : undefined;
  }

  /** The final sums of a sealed tally: bars the announced operations that were not made. */
  async #close({ writer, sums, announced, writtenAtMs }: StoredTally): Promise<Sums> {
    const all = new Sums();
    all.add(sums);
    for (const { operation, page, sums: more } of announced) {
      if (await this.#pages.decide(page, writer, operation)) all.add(more);
    }
    all.hear(toDay(writtenAtMs));
    return all;
  }
}

// Longer than any function runs.
const idleMs = 3_600_000;
const foldedAtOnce = 25;
// A thousand agents at 100,000 requests a second leave about 800 tallies a minute.
const foldedMost = 2_000;
const triesMost = 8;
