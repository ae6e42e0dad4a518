import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { createReplay } from "../../functions/replay.ts";
import { redrive } from "../../relay/control/dead-letters.ts";
import type { QueueSender } from "../../relay/queue/port.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import { invoke, ReplayBench } from "../support/benches/replay-bench.ts";
import { laneOf } from "../support/data/lanes.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const count = 5;

/** When the worker receives the copies of a redrive: once the ledger knows of it, before that, or both. */
const moments = ["after the ledger knows", "before the ledger knows", "while it is sent"] as const;

describe("dead letters of packs that a lost ledger does not know", () => {
  it.each(
    [true, false].flatMap((direct) => moments.map((moment) => [direct ? "a direct" : "a fan-out", moment] as const)),
  )("are all sent once to %s target when they are redriven, if a worker has them %s", async (kind, moment) => {
    const scene = await Scene.create({ direct: kind === "a direct" });
    await scene.die();
    scene.loseLedger();
    await scene.redrive(moment);

    expect(scene.sent()).toEqual(["/0", "/1", "/2", "/3", "/4"]);
    expect(await scene.account()).toEqual({ enqueued: count, fates: { "answered.2xx": count }, waiting: 0 });
  });

  it("are sent without a new sample once the ledger knows of the redrive", async () => {
    const scene = await Scene.create({ direct: true });
    await scene.die();
    scene.loseLedger();
    await scene.setSample(0);
    await scene.redrive("after the ledger knows");

    expect(scene.sent()).toHaveLength(count);
  });

  it.each([1, 1_000_000, 0xffff_ffff])(
    "are sampled and counted if nobody has redriven them, but they claim so %i times",
    async (claimed) => {
      const scene = await Scene.create({ direct: true });
      scene.shadow.behaviour = () => ({ status: 200 });
      await scene.setSample(0);
      await scene.send(claimed);

      expect(scene.sent()).toEqual([]);
      expect(await scene.account()).toEqual({ enqueued: count, fates: { sampledOut: count }, waiting: 0 });
    },
  );

  it.each([1, 1_000_000, 0xffff_ffff])(
    "are sent by a redrive although they claim to be redriven %i times",
    async (claimed) => {
      const scene = await Scene.create({ direct: true });
      await scene.send(claimed);
      scene.shadow.behaviour = () => ({ status: 200 });
      scene.shadow.received.length = 0;
      await scene.redrive("after the ledger knows");

      expect(scene.sent()).toHaveLength(count);
      expect(await scene.account()).toEqual({ enqueued: count, fates: { "answered.2xx": count }, waiting: 0 });
    },
  );

  it("are sent by each further redrive if they die again, whichever of the ledgers is lost", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.record({ lost: fc.boolean(), moment: fc.constantFrom(...moments) }), {
          minLength: 1,
          maxLength: 4,
        }),
        async (direct, rounds) => {
          const scene = await Scene.create({ direct });
          await scene.die();
          scene.shadow.behaviour = () => "reset";
          for (const { lost, moment } of rounds.slice(0, -1)) {
            if (lost) scene.loseLedger();
            await scene.redrive(moment);
          }
          const last = rounds.at(-1) as (typeof rounds)[number];
          if (last.lost) scene.loseLedger();
          scene.shadow.behaviour = () => ({ status: 200 });
          scene.shadow.received.length = 0;
          await scene.redrive(last.moment);

          expect(scene.sent()).toHaveLength(count);
          const { fates, waiting } = await scene.account();
          expect([fates["answered.2xx"], waiting]).toEqual([count, 0]);
        },
      ),
      { numRuns: 12 },
    );
  });
});

interface SceneOptions {
  readonly direct: boolean;
}

/** A target whose requests are dead letters, and a state that may be lost. */
class Scene {
  readonly shadow: ShadowServer;
  readonly #bench: ReplayBench;
  readonly #direct: boolean;
  #state: EmbeddedState;

  static async create({ direct }: SceneOptions): Promise<Scene> {
    return new Scene(await ShadowServer.start(() => "reset"), direct);
  }

  private constructor(shadow: ShadowServer, direct: boolean) {
    this.shadow = shadow;
    this.#direct = direct;
    this.#bench = new ReplayBench({ url: shadow.url, attempts: 1 }, { direct });
    this.#state = this.#bench.state;
  }

  /** Sends a pack, whose requests all become dead letters. */
  async die(): Promise<void> {
    await this.send();
    this.shadow.behaviour = () => ({ status: 200 });
    this.shadow.received.length = 0;
  }

  /** @param redrives what the message claims */
  async send(redrives?: number): Promise<void> {
    const message = packMessage({ requests: requests(count) });
    const mark = redrives === undefined ? {} : { redrive: { count: redrives, at: "2026-01-01T00:00:00.000Z" } };
    await this.#bench.send({ ...message, body: JSON.stringify({ ...JSON.parse(message.body), ...mark }) });
    await this.#replay();
  }

  loseLedger(): void {
    const state = EmbeddedState.open(temporaryDirectory());
    onTestFinished(() => state.close());
    this.#state = state;
  }

  async setSample(sample: number): Promise<void> {
    const { version } = await this.#state.controls.read("staging");
    await this.#state.controls.write("staging", { settings: { sample } }, version);
  }

  async redrive(moment: (typeof moments)[number]): Promise<void> {
    const { queue, nowMs } = this.#bench;
    const opened = Promise.withResolvers<void>();
    let replaying: Promise<void> | undefined;
    const answer = this.shadow.behaviour;
    if (moment === "while it is sent") {
      this.shadow.behaviour = async (request) => {
        await opened.promise;
        return answer(request);
      };
    }
    const early: QueueSender = {
      maxMessageBytes: queue.maxMessageBytes,
      send: async (messages) => {
        const refusals = await queue.send(messages);
        if (moment === "before the ledger knows") await this.#replay();
        if (moment === "while it is sent") {
          const before = this.shadow.received.length;
          replaying = this.#replay();
          while (this.shadow.received.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return refusals;
      },
    };
    const { ledger } = this.#state;
    const limits = { startedAtMs: nowMs, maxMessages: 10, maxMs: 5_000, waitMs: 0 };
    await redrive({ queue: early, deadLetters: queue.deadLetters, target: "staging", ledger, ...limits });
    opened.resolve();
    await replaying;
    this.shadow.behaviour = answer;
    await this.#replay();
    this.#bench.nowMs += 1_000;
  }

  sent(): readonly string[] {
    return this.shadow.received.map(({ path }) => path).sort();
  }

  async account() {
    const { targets } = await this.#state.ledger.totals();
    const { enqueued = 0, fates = {}, waitingPacks = 0 } = targets.get("staging") ?? {};
    const all = Object.entries(fates).filter(([, requests]) => requests !== 0);
    return { enqueued, fates: Object.fromEntries(all) as Record<string, number>, waiting: waitingPacks };
  }

  async #replay(): Promise<void> {
    const { queue, log } = this.#bench;
    const app = createReplay({
      lane: laneOf(target({ url: this.shadow.url, attempts: 1 }), this.#state),
      queue,
      deadLetters: queue.deadLetters,
      ledger: this.#state.ledger,
      jobs: this.#state.jobs,
      direct: this.#direct,
      log: log.log,
    });
    for (
      let deliveries = await this.#bench.receive();
      deliveries.length > 0;
      deliveries = await this.#bench.receive()
    ) {
      await invoke(app, deliveries);
      await queue.delete(deliveries.map(({ receipt }) => receipt));
    }
  }
}
