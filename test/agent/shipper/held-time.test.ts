import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { FromWorker } from "../../../agent/shipper/messages.ts";
import { Shipping } from "../../../agent/shipper/shipping.ts";
import { parseSummary } from "../../../relay/pack/summary.ts";
import { type OutgoingMessage, QueueError, type QueueSender } from "../../../relay/queue/port.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 11);

describe("the time for which an agent has held a pack", () => {
  it("is what really passed, however its clock is set and whether or not a later run sends it", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            passMs: fc.nat(3 * dayMs),
            jumpMs: fc.integer({ min: -9 * dayMs, max: 9 * dayMs }),
            restart: fc.boolean(),
          }),
          { maxLength: 4 },
        ),
        fc.nat(hourMs),
        async (steps, openMs) => {
          const scene = new Scene();
          scene.start();
          const firstMs = scene.uptimeMs;
          scene.pass(openMs);
          const lastMs = scene.uptimeMs;
          scene.add(firstMs);
          for (const { passMs, jumpMs, restart } of steps) {
            scene.pass(passMs);
            scene.wallMs += jumpMs;
            if (restart) await scene.restart();
          }
          await scene.restart(true);

          expect(scene.held()).toEqual([[scene.uptimeMs - firstMs, scene.uptimeMs - lastMs]]);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is by the wall clock of the agent's machine if that was started again", async () => {
    const scene = new Scene();
    scene.start();
    scene.add(scene.uptimeMs);
    scene.boot = "second";
    scene.uptimeMs = 1_000;
    scene.wallMs += 2 * hourMs;
    await scene.restart(true);

    expect(scene.held()).toEqual([[2 * hourMs, 2 * hourMs]]);
  });

  it("is not told if no clock knows it", async () => {
    const scene = new Scene();
    scene.start();
    scene.add(scene.uptimeMs);
    scene.boot = "second";
    scene.wallMs -= hourMs;
    await scene.restart(true);

    expect(scene.held()).toEqual([undefined]);
  });

  it("and the clock that measured it are not in the message", async () => {
    const scene = new Scene();
    scene.start(true);
    scene.add(scene.uptimeMs);
    await scene.restart(true);

    expect(Object.keys(JSON.parse(scene.sent[0].body)).sort().join()).toBe(
      "agent,bytes,count,first,held,last,pack,seq,v",
    );
  });
});

/** An agent's shipping with a journal, in front of a queue that does not answer at first. */
class Scene {
  readonly sent: OutgoingMessage[] = [];
  boot = "first";
  uptimeMs = 5_000;
  wallMs = startMs;
  readonly #directory = temporaryDirectory();
  #answers = false;
  #run = 0;
  #shipping: Shipping | undefined;

  start(answers = false): void {
    this.#answers = answers;
    const queue: QueueSender = {
      maxMessageBytes: 1_000_000,
      send: async (messages) => {
        if (!this.#answers) throw new QueueError("UNAVAILABLE", "not yet");
        this.sent.push(...messages);
        return messages.map(() => undefined);
      },
    };
    const machine = { boot: this.boot, uptimeMs: () => this.uptimeMs, wallMs: () => this.wallMs };
    const journal = { directory: join(this.#directory, "journal"), maxBytes: 1e7, whenFull: "drop-oldest" } as const;
    const post = (_: FromWorker) => {};
    this.#shipping = new Shipping({ agent: `a~${this.#run++}`, queue, journal, post, machine });
  }

  /** @param firstMs the uptime at which the first request of the pack was captured */
  add(firstMs: number): void {
    const time = (atMs: number) => new Date(this.wallMs - (this.uptimeMs - atMs)).toISOString();
    const times = { first: time(firstMs), last: time(this.uptimeMs) };
    const summary = { v: 1, pack: "0", agent: "a", seq: 1, count: 1, bytes: 3, ...times } as const;
    const span = { fromMs: firstMs, toMs: this.uptimeMs };
    this.#shipping?.add({ kind: "pack", buffer: new ArrayBuffer(3), bytes: 3, summary, span });
  }

  pass(ms: number): void {
    this.uptimeMs += ms;
    this.wallMs += ms;
  }

  async restart(answers = false): Promise<void> {
    await this.#shipping?.finish(0);
    this.start(answers);
    if (answers) await this.#shipping?.finish(10_000);
  }

  held() {
    return this.sent.map(({ body }) => parseSummary(body)?.held);
  }
}
