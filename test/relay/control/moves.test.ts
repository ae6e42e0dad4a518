import { expect, it, onTestFinished } from "vitest";
import { redrive } from "../../../relay/control/dead-letters.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { shareMessage } from "../../../relay/queue/message.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../../relay/state/fate-sheet.ts";
import type { Fate, Ledger } from "../../../relay/state/port.ts";
import { pack, packIn, packMessage, requests } from "../../support/data/packs.ts";
import { seededRandom } from "../../support/data/seeded-random.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const names = ["a", "b", "c"];
const count = 3;

it("loses no request that is moved between targets at random, and each target adds up, whenever a process dies", async () => {
  const random = seededRandom(11);
  for (let round = 0; round < 20; round++) {
    const stage = new Stage(random);
    const reached = names.filter(() => random() < 0.5);
    await stage.fanOut(reached.length > 0 ? reached : ["a"]);
    for (let step = 0; step < 25; step++) await stage.step(0.15);
    await stage.settleAll();

    const totals = (await stage.state.ledger.totals()).targets;
    for (const [name, { enqueued, fates }] of totals) {
      const settled = Object.values(fates).reduce((sum, fate) => sum + fate, 0);
      expect([round, name, settled, fates.deadLettered]).toEqual([round, name, enqueued, 0]);
    }
    expect([round, stage.answered]).toEqual([round, new Set(Array.from({ length: count }, (_, i) => i))]);
    stage.close();
  }
}, 30_000);

/** Three targets with their queues; a simple worker; an operator. A call may fail at any point, as if its process died there. */
class Stage {
  readonly state: EmbeddedState;
  readonly answered = new Set<number>();
  readonly #queues: ReadonlyMap<string, EmbeddedQueue>;
  readonly #random: () => number;
  #nowMs = 1_790_000_000_000;

  constructor(random: () => number) {
    const directory = temporaryDirectory();
    const now = () => this.#nowMs;
    this.#random = random;
    this.state = EmbeddedState.open(directory, now);
    this.#queues = new Map(names.map((name) => [name, EmbeddedQueue.open({ directory, name: `target-${name}`, now })]));
    onTestFinished(() => this.close());
  }

  async fanOut(targets: readonly string[]): Promise<void> {
    const fields = { requests: requests(count) };
    const { id, agent, sequence } = pack(fields);
    for (const name of targets) await this.#queue(name).send([packMessage(fields)]);
    const settlements = new Map(targets.map((name) => [name, new Map<number, Fate>()]));
    await this.state.ledger.recordFanOut({ pack: id, agent, sequence, requests: count, targets: settlements });
  }

  async step(deaths: number): Promise<void> {
    this.#nowMs += this.#random() < 0.3 ? 61_000 : 1;
    try {
      if (this.#random() < 0.5) await this.#deliver(this.#any(), { deaths, answers: 0.3 });
      else await this.#redrive(this.#any(), this.#any(), deaths);
    } catch (error) {
      if (!(error instanceof Death)) throw error;
    }
  }

  /** Every shadow answers from now on. */
  async settleAll(): Promise<void> {
    for (let pass = 0; pass < 6; pass++) {
      this.#nowMs += 61_000;
      for (const name of names) {
        await this.#redrive(name, name, 0);
        while (await this.#deliver(name, { deaths: 0, answers: 1 }));
      }
    }
  }

  close(): void {
    for (const queue of this.#queues.values()) queue.close();
    this.state.close();
  }

  async #deliver(
    name: string,
    { deaths, answers }: { readonly deaths: number; readonly answers: number },
  ): Promise<boolean> {
    const queue = this.#queue(name);
    const ledger = this.#dying(this.state.ledger, deaths);
    const { signal } = new AbortController();
    const [delivery] = await queue.receive({ max: 1, waitMs: 0, visibilityMs: 60_000, signal });
    if (!delivery) return false;
    const received = packIn(delivery);
    const { redrive: last } = JSON.parse(delivery.body) as { redrive?: { count: number; at: string } };
    const message = { ...received, ...(last && { redrive: { count: last.count, atMs: Date.parse(last.at) } }) };
    const redrives = last?.count ?? 0;
    const all = received.requests.map(({ index }) => index);
    if (redrives > 0) await ledger.reopen(name, received.id, all, redrives);
    const settled = settledIndexes(await ledger.sheet(name, received.id), redrives);
    const open = received.requests.filter(({ index }) => !settled.has(index));
    const good = open.filter(() => this.#random() < answers);
    const bad = open.filter((request) => !good.includes(request));
    for (const { index } of good) this.answered.add(index);
    if (good.length > 0) {
      await ledger.settle(name, received.id, new Map(good.map(({ index }) => [index, "answered.2xx"])), redrives);
    }
    if (bad.length > 0) {
      await queue.deadLetters.send([shareMessage(message, bad, { attempt: 1, reason: "refused" })]);
      await ledger.settle(name, received.id, new Map(bad.map(({ index }) => [index, "deadLettered"])), redrives);
    }
    if (this.#random() < deaths) throw new Death();
    await queue.delete([delivery.receipt]);
    return true;
  }

  async #redrive(name: string, to: string, deaths: number): Promise<void> {
    await redrive({
      deadLetters: this.#queue(name).deadLetters,
      queue: this.#queue(to),
      target: name,
      ...(to !== name && { to }),
      ledger: this.#dying(this.state.ledger, deaths),
      startedAtMs: ++this.#nowMs,
      maxMessages: 10,
      maxMs: Number.POSITIVE_INFINITY,
      waitMs: 0,
    });
  }

  /** Its calls may be the last of their process: before or after they take effect. */
  #dying(ledger: Ledger, deaths: number): Ledger {
    return new Proxy(ledger, {
      get: (whole, key) => {
        const method = Reflect.get(whole, key) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          if (this.#random() < deaths / 2) throw new Death();
          const result = await method.apply(whole, args);
          if (this.#random() < deaths / 2) throw new Death();
          return result;
        };
      },
    });
  }

  #any(): string {
    return names[Math.floor(this.#random() * names.length)];
  }

  #queue(name: string): EmbeddedQueue {
    const queue = this.#queues.get(name);
    if (!queue) throw new Error(name);
    return queue;
  }
}

class Death extends Error {}
