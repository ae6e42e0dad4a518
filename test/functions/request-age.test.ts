import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFanOut } from "../../functions/fanout.ts";
import { redrive } from "../../relay/control/dead-letters.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { invoke, ReplayBench } from "../support/benches/replay-bench.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const retentionMs = 4 * dayMs;
// A mark is in whole milliseconds, and there is one for each queue.
const marginMs = 10;

/** By how much the clock of the agent's machine is ahead of that of the host. */
const skewMs = fc.oneof(
  fc.integer({ min: -10 * dayMs, max: 10 * dayMs }),
  fc.integer({ min: -2 * hourMs, max: 2 * hourMs }),
);
const waitMs = fc.oneof(fc.nat(minuteMs), fc.nat(3 * hourMs), fc.nat(dayMs));

describe("maxAge", () => {
  it("is by how long requests were really held and waited, whatever the clocks of agent and host say", async () => {
    const shadow = await ShadowServer.start();
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          skew: skewMs,
          heldMs: waitMs,
          lingerMs: fc.nat(5 * secondMs),
          waits: fc.record({ ingress: waitMs, queue: waitMs, letters: fc.option(waitMs) }),
          fannedOut: fc.constantFrom("not", "whole", "split"),
          maxAgeMs: fc.integer({ min: minuteMs, max: dayMs }),
        }),
        async ({ skew, heldMs, lingerMs, waits, fannedOut, maxAgeMs }) => {
          const scene = new Scene(shadow, maxAgeMs);
          const marks = { held: [heldMs + lingerMs, heldMs] };
          await scene.send(skew, heldMs, lingerMs, marks, fannedOut === "not" ? undefined : "ingress");
          scene.pass(waits.ingress);
          if (fannedOut !== "not") await scene.fanOut(fannedOut === "split");
          scene.pass(waits.queue);
          if (waits.letters !== null) await scene.dieFor(waits.letters);
          await scene.replay();

          for (const [index, ageMs] of scene.agesMs.entries()) {
            if (ageMs <= maxAgeMs) expect(scene.sent(index), `${ageMs} of ${maxAgeMs}`).toBe(true);
            if (ageMs > maxAgeMs + marginMs) expect(scene.sent(index), `${ageMs} of ${maxAgeMs}`).toBe(false);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("is by the two clocks for packs of an agent that does not tell how long it held them", async () => {
    const shadow = await ShadowServer.start();
    const scene = new Scene(shadow, hourMs);
    await scene.send(-2 * hourMs, 0, 0, {});
    await scene.replay();
    const late = shadow.received.length;
    await scene.send(0, 0, 0, {});
    await scene.replay();

    expect([late, shadow.received.length]).toEqual([0, 2]);
  });

  it.each([
    ["held for no time", 0, { held: [0, 0], since: Date.now() + 10 * dayMs }],
    ["captured tomorrow", dayMs, {}],
    ["captured tomorrow, and held for a negative time", dayMs, { held: [-1, -1] }],
  ])("counts at least the time in the queue, even if a message claims to be %s", async (_, skew, marks) => {
    const shadow = await ShadowServer.start();
    const scene = new Scene(shadow, hourMs);
    await scene.send(skew, 0, 0, marks);
    scene.pass(hourMs + minuteMs);
    await scene.replay();

    expect(shadow.received).toEqual([]);
    expect(await scene.bench.fates()).toEqual({ expired: 2 });
  });
});

describe("requests that claim to have been held for as long as a mark can say", () => {
  it("are sent by each redrive, and counted", async () => {
    const shadow = await ShadowServer.start();
    const scene = new Scene(shadow, undefined);
    const longestMs = 8.64e15;
    // The longest time is over when the requests die again.
    await scene.send(0, 0, 0, { held: [longestMs - 90_000, longestMs - 90_000] });
    await scene.dieFor(minuteMs);
    scene.pass(minuteMs);
    await scene.dieFor(minuteMs);
    await scene.replay();

    expect([scene.sent(0), scene.sent(1)]).toEqual([true, true]);
    expect(await scene.bench.fates()).toEqual({ "answered.2xx": 2 });
  });
});

describe("the clock of an agent", () => {
  it("is reported once if it differs from that of the host, and again after it was right", async () => {
    const shadow = await ShadowServer.start();
    const scene = new Scene(shadow, hourMs);
    for (const skew of [2 * hourMs, 2 * hourMs, 100, -5 * dayMs]) {
      await scene.send(skew, 0, 0, { held: [0, 0] });
      await scene.replay();
    }

    expect(
      scene.bench.log.lines.map(({ event, agent, skewMs }) => [event, agent, Math.round(Number(skewMs) / hourMs)]),
    ).toEqual([
      ["agent-clock", "edge-1", 2],
      ["agent-clock", "edge-1", -120],
    ]);
  });

  it("is reported ten times at most if it is right and wrong in turn, as those of two machines of one name are", async () => {
    const shadow = await ShadowServer.start();
    const scene = new Scene(shadow, hourMs);
    for (let i = 0; i < 30; i++) {
      await scene.send(i % 2 === 0 ? hourMs : 0, 0, 0, { held: [0, 0] });
      await scene.replay();
    }

    expect(scene.bench.log.lines.map(({ event }) => event)).toEqual(Array(10).fill("agent-clock"));
  });
});

let scenes = 0;

/** Two requests on their way through the queues; only the test lets time pass. A third is not for the target. */
class Scene {
  readonly name = `s${scenes++}`;
  readonly bench: ReplayBench;
  readonly #ingress: EmbeddedQueue;
  readonly #shadow: ShadowServer;
  #ages: number[] = [];
  #sequence = 0;

  constructor(shadow: ShadowServer, maxAgeMs: number | undefined) {
    this.#shadow = shadow;
    const retention = { ms: retentionMs, counted: true, nowMs: () => this.bench.nowMs };
    this.bench = new ReplayBench({ url: shadow.url, ...(maxAgeMs && { maxAgeMs }), attempts: 1 }, { retention });
    const now = () => this.bench.nowMs;
    this.#ingress = EmbeddedQueue.open({ directory: this.bench.directory, name: "ingress", now });
  }

  get agesMs(): readonly number[] {
    return this.#ages;
  }

  sent(index: number): boolean {
    return this.#shadow.received.some(({ path }) => path === `/${this.name}/${index}`);
  }

  pass(ms: number): void {
    this.bench.nowMs += ms;
    this.#ages = this.#ages.map((age) => age + ms);
  }

  /** Sends requests that the agent has held for this time, the second and third captured `lingerMs` after the first. */
  async send(skew: number, heldMs: number, lingerMs: number, marks: object, to?: "ingress"): Promise<void> {
    this.#ages = [heldMs + lingerMs, heldMs];
    const some = requests(to === "ingress" ? 3 : 2).map((request, i) => ({
      ...request,
      method: i < 2 ? "GET" : "POST",
      path: `/${this.name}/${i}`,
      capturedAtMs: Date.now() + skew - (i === 0 ? heldMs + lingerMs : heldMs),
    }));
    const { body, ...rest } = packMessage({ sequence: ++this.#sequence, requests: some });
    const message: OutgoingMessage = { ...rest, body: JSON.stringify({ ...JSON.parse(body), ...marks }) };
    await (to === "ingress" ? this.#ingress : this.bench.queue).send([message]);
  }

  /** @param split whether the target does not take the third request */
  async fanOut(split: boolean): Promise<void> {
    const config = target({ url: this.#shadow.url, ...(split && { when: { methods: ["GET"] } }) });
    const app = createFanOut({
      targets: [new LiveTarget(config, this.bench.state.controls)],
      queueOf: () => this.bench.queue,
      captures: [],
      ingress: this.#ingress,
      deadLetters: this.#ingress.deadLetters,
      ledger: this.bench.state.ledger,
      log: this.bench.log.log,
    });
    await invoke(app, await receiveAll(this.#ingress));
  }

  /** The requests die, wait as dead letters, and are redriven. */
  async dieFor(ms: number): Promise<void> {
    const { queue, state } = this.bench;
    this.#shadow.behaviour = () => "reset";
    await this.replay();
    this.#shadow.behaviour = () => ({ status: 200 });
    this.#shadow.received.length = 0;
    this.pass(ms);
    const limits = { startedAtMs: this.bench.nowMs, maxMessages: 10, maxMs: 5_000, waitMs: 0 };
    await redrive({ queue, deadLetters: queue.deadLetters, target: "staging", ledger: state.ledger, ...limits });
  }

  async replay(): Promise<void> {
    for (let some = await this.bench.receive(); some.length > 0; some = await this.bench.receive()) {
      await this.bench.invoke(some);
    }
  }
}

function receiveAll(queue: EmbeddedQueue) {
  return queue.receive({ max: 10, waitMs: 0, visibilityMs: 30_000, signal: new AbortController().signal });
}
