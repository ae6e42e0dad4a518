import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createReplay } from "../../functions/replay.ts";
import type { ReplayDeps } from "../../functions/replay-deps.ts";
import { type Clock, systemClock } from "../../relay/clock.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { type SlotRounds, StateError } from "../../relay/state/port.ts";
import { invoke, ReplayBench } from "../support/benches/replay-bench.ts";
import { ManualClock } from "../support/clocks/manual-clock.ts";
import { until } from "../support/clocks/until.ts";
import { failingRounds, fixedRate, laneOf } from "../support/data/lanes.ts";
import { pack, packIn, packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { type Answer, ShadowServer } from "../support/servers/shadow-server.ts";

describe("replay: a pack that is delivered", () => {
  it("is deleted once each of its requests has a fate in the ledger", async () => {
    const shadow = await ShadowServer.start(({ path }) => ({ status: path === "/2" ? 500 : 200 }));
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send(packMessage({ requests: requests(4) }));
    const failed = await bench.invoke(await bench.receive());

    expect(failed).toEqual([]);
    expect(bench.queue.depth().messages).toBe(0);
    expect(await bench.fates()).toEqual({ "answered.2xx": 3, "answered.5xx": 1 });
    expect(new Set(shadow.paths)).toEqual(new Set(["/0", "/1", "/2", "/3"]));
  });

  it("skips the requests that already have a fate", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    const whole = pack({ requests: requests(5) });
    await bench.state.ledger.settle(
      "staging",
      whole.id,
      new Map([1, 3].map((index) => [index, "answered.2xx"] as const)),
    );
    await bench.send(packMessage({ requests: requests(5) }), packMessage({ requests: requests(5) }));
    for (const delivery of await bench.receive()) await bench.invoke([delivery]);

    expect([...shadow.paths].sort()).toEqual(["/0", "/2", "/4"]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 5 });
  });

  it("is sent once if copies of it are handled concurrently", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(() => gate.opened);
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send(...[1, 2, 3].map(() => packMessage({ requests: requests(2) })));
    const replaying = (await bench.receive()).map((delivery) => bench.invoke([delivery]));
    await shadow.arrived(2);
    gate.open();
    const failed = await Promise.all(replaying);

    expect(failed).toEqual([[], [], []]);
    expect([...shadow.paths].sort()).toEqual(["/0", "/1"]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2 });
    expect(bench.queue.depth().messages).toBe(0);
  });

  it("does not affect the others of its batch when it fails", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { ledger: failingFor(pack({ sequence: 2 }).id) });
    await bench.send(...[1, 2, 3].map((sequence) => packMessage({ sequence, requests: requests(1) })));
    const deliveries = await bench.receive();
    const failed = await bench.invoke(deliveries);

    expect(failed).toEqual([deliveries[1].messageId]);
    expect(bench.log.events).toEqual(["state-down", "state-up"]);
  });
});

describe("replay: requests that are not delivered", () => {
  it("are retried in a smaller pack with the same ids and indexes; the others are done", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" || path === "/3" ? "reset" : { status: 200 }));
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send(packMessage({ requests: requests(4) }));
    await bench.invoke(await bench.receive());
    const early = await bench.receive();
    const fates = await bench.fates();
    const [delivery] = await bench.waiting();
    shadow.behaviour = () => ({ status: 200 });
    await bench.invoke([delivery]);

    expect(early).toEqual([]);
    expect(fates).toEqual({ "answered.2xx": 2 });
    expect(bench.log.lines[0]).toMatchObject({
      event: "undelivered",
      requests: 2,
      reason: expect.stringMatching(/\w/),
    });
    expect(packIn(delivery)).toMatchObject({ id: pack().id, attempt: 1 });
    expect(packIn(delivery).requests.map(({ index }) => index)).toEqual([1, 3]);
    expect(JSON.parse(delivery.body)).toMatchObject({ count: 2, attempt: 1 });
    const ids = shadow.received.map(
      ({ path, headers }) => `${path} ${headers["x-mirror-id"]} ${headers["x-mirror-attempt"]}`,
    );
    expect(ids.sort()).toEqual(
      ["/0 0 1", "/1 1 1", "/1 1 2", "/2 2 1", "/3 3 1", "/3 3 2"].map((line) => {
        const [path, index, attempt] = line.split(" ");
        return `${path} ${pack().id}-${index} ${attempt}`;
      }),
    );
    expect(await bench.fates()).toEqual({ "answered.2xx": 4 });
  });

  it("keep the id that HAProxy gave them", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const bench = new ReplayBench({ url: shadow.url, attempts: 2 });
    await bench.send(packMessage({ requests: requests(1, { id: "unique-7" }) }));
    await bench.replayAll();

    expect(shadow.received.map(({ headers }) => headers["x-mirror-id"])).toEqual(["unique-7", "unique-7"]);
  });

  it("wait as long as the shadow's Retry-After asks for", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 429, headers: { "retry-after": "120" } }));
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send(packMessage({ requests: requests(1) }));
    await bench.invoke(await bench.receive());
    bench.nowMs += 119_000;
    const early = await bench.receive();
    bench.nowMs += 2_000;

    expect(early).toEqual([]);
    expect((await bench.receive()).length).toBe(1);
  });

  it("become dead letters after the last attempt, with the reason, also in the ledger", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? { status: 200 } : "reset"));
    const bench = new ReplayBench({ url: shadow.url, attempts: 3 });
    await bench.send(packMessage({ requests: requests(3) }));
    await bench.replayAll();

    expect(await bench.deadLetters()).toEqual([
      { reason: expect.stringMatching(/ECONNRESET.*\(attempt 3\)/), paths: ["/1", "/2"] },
    ]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 1, deadLettered: 2 });
    expect(shadow.paths.filter((path) => path === "/1").length).toBe(3);
    expect(bench.log.events).toEqual(["undelivered", "undelivered", "dead-letter"]);
  });

  it("use up no attempts of the requests that wait behind them for the same key", async () => {
    const tried = new Map<string, number>();
    // The first request is never delivered, the others at their second attempt.
    const shadow = await ShadowServer.start(({ path }) => {
      tried.set(path, (tried.get(path) ?? 0) + 1);
      return path === "/0" || tried.get(path) === 1 ? "reset" : { status: 200 };
    });
    const bench = new ReplayBench({ url: shadow.url, attempts: 3, orderBy: { by: "cookie", name: "user" } });
    await bench.send(packMessage({ requests: requests(4, { headers: ["cookie", "user=ann"] }) }));
    await bench.replayAll();

    expect((await bench.deadLetters()).map(({ paths }) => paths)).toEqual([["/0"]]);
    expect(Object.fromEntries(tried)).toEqual({ "/0": 3, "/1": 2, "/2": 2, "/3": 2 });
    expect(await bench.fates()).toEqual({ "answered.2xx": 3, deadLettered: 1 });
  });

  it("become dead letters at once if they cannot be sent or must not be repeated", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/slow" ? "hang" : { status: 200 }));
    // Long enough for the other requests to be answered on a slow machine.
    const bench = new ReplayBench({ url: shadow.url, timeoutMs: 2_500, concurrency: 1 });
    const paths = ["/0", "http://other/", "/slow", "/3"];
    await bench.send(
      packMessage({ requests: requests(4, { method: "POST" }).map((part, i) => ({ ...part, path: paths[i] })) }),
    );
    await bench.replayAll();

    expect((await bench.deadLetters()).map(({ paths }) => paths)).toEqual([["http://other/"], ["/slow"]]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2, deadLettered: 2 });
  });
});

describe("replay: a pack that cannot be finished", () => {
  it.each([
    ["garbage", Buffer.from("garbage")],
    ["nothing", Buffer.alloc(0)],
  ])("becomes a dead letter at once if it is %s", async (_, bytes) => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send({ ...packMessage({ requests: requests(2) }), pack: bytes });
    await bench.replayAll();

    const [letter] = await bench.queue.deadLetters.browse(10);
    expect(Buffer.from(letter.pack)).toEqual(bytes);
    expect(JSON.parse(letter.body).reason).toMatch(/BAD_MAGIC|no Binary attribute named pack/);
    expect(bench.log.events).toEqual(["poison"]);
  });

  it("becomes a dead letter when it was received too often, without the requests that have a fate", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    const whole = pack({ requests: requests(3) });
    await bench.state.ledger.settle("staging", whole.id, new Map([[1, "answered.2xx"]]));
    await bench.send(packMessage({ requests: requests(3) }));
    const [delivery] = await bench.receive();
    const failed = await bench.invoke([{ ...delivery, receiveCount: 51 }]);

    expect(failed).toEqual([]);
    expect(await bench.deadLetters()).toEqual([
      { reason: "received 51 times and never finished", paths: ["/0", "/2"] },
    ]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 1, deadLettered: 2 });
    expect(shadow.received).toEqual([]);
  });

  it("is replayed 45 times before that", async () => {
    const shadow = await ShadowServer.start();
    for (const [receiveCount, sent] of [
      [45, 1],
      [46, 0],
    ]) {
      const bench = new ReplayBench({ url: shadow.url });
      await bench.send(packMessage({ requests: requests(1) }));
      const [delivery] = await bench.receive();
      const before = shadow.received.length;
      await bench.invoke([{ ...delivery, receiveCount }]);

      expect([receiveCount, shadow.received.length - before]).toEqual([receiveCount, sent]);
      expect(await bench.fates()).toEqual(sent === 1 ? { "answered.2xx": 1 } : { deadLettered: 1 });
    }
  });

  it("is only deleted if all its requests have a fate", async () => {
    const bench = new ReplayBench({});
    const whole = pack({ requests: requests(1) });
    await bench.state.ledger.settle("staging", whole.id, new Map([[0, "answered.2xx"]]));
    await bench.send(packMessage({ requests: requests(1) }));
    const [delivery] = await bench.receive();
    await bench.invoke([{ ...delivery, receiveCount: 51 }]);

    expect(await bench.deadLetters()).toEqual([]);
    expect(bench.queue.depth().messages).toBe(0);
  });
});

describe("replay: a state store that fails", () => {
  it("sends nothing if no slots can be had, and sends the pack back as a new message", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url, ratePerSecond: 10 });
    await bench.send(packMessage({ requests: requests(2) }));
    const deliveries = await bench.receive();
    const app = appWithRounds(bench, shadow, failingRounds("at once"));

    expect(await invoke(app, deliveries)).toEqual([]);
    await bench.queue.delete([deliveries[0].receipt]);
    expect((await bench.waiting()).map(({ receiveCount }) => receiveCount)).toEqual([1]);
    expect(shadow.received).toEqual([]);
    expect(bench.log.events).toEqual(["state-down"]);
  });

  it("sends back the requests without a slot, and handles the others", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "reset" : { status: 200 }));
    const bench = new ReplayBench({ url: shadow.url, ratePerSecond: 10 });
    await bench.send(packMessage({ requests: requests(5) }));
    const deliveries = await bench.receive();
    const clock = new ManualClock(1_790_000_000_000_000);
    const invoking = invoke(appWithRounds(bench, shadow, failingRounds("after the first round"), clock), deliveries);
    // The first round has three slots.
    const ticks = setInterval(() => void clock.runUntil(clock.nowUs() + 20_000), 1);
    const failed = await invoking.finally(() => clearInterval(ticks));
    await bench.queue.delete(deliveries.map(({ receipt }) => receipt));
    const early = await bench.receive();
    const waiting = (await bench.waiting()).map((delivery) => {
      const { attempt, requests } = packIn(delivery);
      return [attempt, requests.map(({ index }) => index)];
    });

    expect(failed).toEqual([]);
    expect(early).toEqual([]);
    expect(waiting).toEqual(
      expect.arrayContaining([
        [1, [1]],
        [0, [3, 4]],
      ]),
    );
    expect(await bench.fates()).toEqual({ "answered.2xx": 2 });
  });

  it("has the pack delivered again if its fates cannot be written", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { ledger: failingFor(pack().id) });
    await bench.send(packMessage({ requests: requests(2) }));
    const deliveries = await bench.receive();

    expect(await bench.invoke(deliveries)).toEqual([deliveries[0].messageId]);
  });

  it("has noted what was answered if the replay breaks off, before the pack is delivered again", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    const { transport } = bench.lane;
    const send = transport.send.bind(transport);
    transport.send = async (outbound) => {
      if (outbound.path === "/1") throw new Error("out of memory");
      return send(outbound);
    };
    await bench.send(packMessage({ requests: requests(3) }));
    const deliveries = await bench.receive();
    const failed = await bench.invoke(deliveries);

    expect(failed).toEqual([deliveries[0].messageId]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2 });
  });

  it("waits for a write of fates in progress, and repeats one that failed", async () => {
    const settle = new SlowSettle();
    const gate = new Gate();
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? gate.opened : { status: 200 }));
    const bench = new ReplayBench({ url: shadow.url, concurrency: 1 }, { ledger: settle.ledger });
    await bench.send(packMessage({ requests: requests(2) }));
    const replaying = bench.invoke(await bench.receive());
    await until(() => settle.calls.length === 1);
    gate.open();
    // The second request has been answered, and the replay ends.
    await bench.lane.permits.acquire(new AbortController().signal);
    await turn();
    const notedBefore = settle.calls.length;
    settle.calls[0].fail();
    await until(() => settle.calls.length === 2);
    settle.calls[1].succeed();

    expect(await replaying).toEqual([]);
    expect(notedBefore).toBe(1);
    expect(settle.calls.map(({ indexes }) => indexes)).toEqual([[0], [0, 1]]);
  });
});

describe("replay: an invocation that must end early", () => {
  it("sends the unsent requests back without a delay, and without counting an attempt", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(() => gate.opened);
    const bench = new ReplayBench({ url: shadow.url, concurrency: 2 });
    const stop = new AbortController();
    await bench.send(packMessage({ requests: requests(5) }));
    const replaying = bench.invoke(await bench.receive(), { signal: stop.signal, patient: true });
    await shadow.arrived(2);
    stop.abort();
    gate.open();
    const failed = await replaying;
    const [rest] = await bench.receive();

    expect(failed).toEqual([]);
    expect(packIn(rest)).toMatchObject({ attempt: 0 });
    expect(packIn(rest).requests.map(({ index }) => index)).toEqual([2, 3, 4]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2 });
  });

  it("has an unsent pack delivered again unchanged", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.send(packMessage({ requests: requests(5) }));
    const deliveries = await bench.receive();

    expect(await bench.invoke(deliveries, { signal: AbortSignal.abort(), patient: true })).toEqual([
      deliveries[0].messageId,
    ]);
    expect(bench.queue.depth()).toEqual({ messages: 1, requests: 5 });
    expect(shadow.received).toEqual([]);
  });
});

describe("replay: a target that is held", () => {
  it("sends a pack back for a minute if the invocation is not patient, without counting a receive", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.pause();
    await bench.send(packMessage({ requests: requests(5) }));
    const failed = await bench.invoke(await bench.receive());
    bench.nowMs += 59_000;
    const early = await bench.receive();
    bench.nowMs += 2_000;
    const [delivery] = await bench.receive();

    expect([failed, early]).toEqual([[], []]);
    expect(delivery.receiveCount).toBe(1);
    expect(packIn(delivery)).toMatchObject({ attempt: 0 });
    expect(packIn(delivery).requests.length).toBe(5);
    expect(shadow.received).toEqual([]);
  });

  it("keeps a pack if the invocation is patient, and sends it when the target is resumed", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.pause();
    await bench.send(packMessage({ requests: requests(5) }));
    const replaying = bench.invoke(await bench.receive(), { patient: true });
    await until(() => bench.lane.live.held === "paused");
    await bench.pause(null);

    expect(await replaying).toEqual([]);
    expect(shadow.received.length).toBe(5);
    expect(bench.queue.depth().messages).toBe(0);
  });

  it("opens the breaker while the shadow is down, and loses nothing", async () => {
    const shadow = await ShadowServer.start();
    await shadow.close();
    // Not an ephemeral port: the system might give it to a client before the shadow listens again.
    const [port] = await freePorts(1);
    const url = new URL(`http://127.0.0.1:${port}`);
    const bench = new ReplayBench({ url, concurrency: 1, breaker: { failures: 3, probeAfterMs: 100 } });
    await bench.send(packMessage({ requests: requests(10) }));
    const replaying = bench.invoke(await bench.receive(), { patient: true });
    await until(() => bench.lane.live.held?.includes("breaker") === true);
    await shadow.listen(port);
    await replaying;
    await bench.replayAll();

    expect(await bench.fates()).toEqual({ "answered.2xx": 10 });
    expect(new Set(shadow.paths).size).toBe(10);
    expect((await bench.state.controls.read("staging")).control.breaker).toBeUndefined();
  });
});

describe("replay: packs straight from the agents", () => {
  it("are recorded as fanned out, and sampled at the target's current fraction", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { direct: true });
    await bench.state.controls.write("staging", { settings: { sample: 0.5 } }, 0);
    await bench.send(packMessage({ requests: requests(200) }), packMessage({ requests: requests(200) }));
    await bench.replayAll();
    const { agents, targets } = await bench.state.ledger.totals();
    const { sampledOut } = targets.get("staging")?.fates ?? { sampledOut: 0 };

    expect(agents).toMatchObject([{ packs: 1, requests: 200 }]);
    expect(targets.get("staging")).toMatchObject({ enqueued: 200, fates: { "answered.2xx": 200 - sampledOut } });
    expect(Math.abs(sampledOut - 100)).toBeLessThan(50);
    expect(shadow.received.length).toBe(200 - sampledOut);
  });

  it("are those of no replay job, whatever their messages claim", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { direct: true });
    const message = packMessage({ requests: requests(3) });
    await bench.send({ ...message, body: JSON.stringify({ ...JSON.parse(message.body), job: { id: "j1", base: 0 } }) });
    await bench.replayAll();

    expect(await bench.fates()).toEqual({ "answered.2xx": 3 });
    expect(bench.log.events).toEqual(["forged-mark"]);
  });

  it("are sampled and recorded, even if their messages claim to be redriven", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { direct: true });
    await bench.state.controls.write("staging", { settings: { sample: 0.1 } }, 0);
    // The second message has the id of the first, which has fewer requests than it.
    const forged = [requests(3), requests(200)].map((some, i) => claimRedrive(packMessage({ requests: some }), i + 1));
    for (const message of forged) {
      await bench.send(message);
      await bench.replayAll();
    }
    const { agents, targets } = await bench.state.ledger.totals();
    const { "answered.2xx": answered, sampledOut } = targets.get("staging")?.fates ?? {};

    expect(agents).toMatchObject([{ packs: 1, requests: 3 }]);
    expect(answered).toBe(shadow.received.length);
    expect(shadow.received.length).toBeLessThan(60);
    expect(sampledOut).toBe(200 - shadow.received.length);
    expect(bench.log.events).toContain("forged-mark");
  });

  it("are sent again without a new sample if they were redriven, here or to here", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url }, { direct: true });
    const { ledger, controls } = bench.state;
    await controls.write("staging", { settings: { sample: 0 } }, 0);
    const [own, moved] = [1, 2].map((sequence) => ({ sequence, requests: requests(5) }));
    const dead = new Map(own.requests.map((_, index) => [index, "deadLettered"] as const));
    const record = (fields: typeof own, name: string) => {
      const { id, agent, sequence } = pack(fields);
      return ledger.recordFanOut({ pack: id, agent, sequence, requests: 5, targets: new Map([[name, dead]]) });
    };
    await record(own, "staging");
    await record(moved, "old");
    // The copy of a redrive is stored before the ledger knows of it.
    await bench.send(...[own, moved].map((some) => claimRedrive(packMessage(some), 1)));
    await bench.replayAll();

    expect(await bench.fates()).toEqual({ "answered.2xx": 10 });
    expect(shadow.received.length).toBe(10);
    expect(bench.log.events).not.toContain("forged-mark");
  });

  it("have a fate for each request, even if the sample was lowered before a retry", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const bench = new ReplayBench({ url: shadow.url }, { direct: true });
    await bench.send(packMessage({ requests: requests(100) }));
    await bench.invoke(await bench.receive());
    await bench.state.controls.write("staging", { settings: { sample: 0.1 } }, 0);
    shadow.behaviour = () => ({ status: 200 });
    // A new process, which reads the target's current settings.
    const later = createReplay({
      lane: laneOf(target({ url: shadow.url }), bench.state),
      queue: bench.queue,
      deadLetters: bench.queue.deadLetters,
      ledger: bench.state.ledger,
      jobs: bench.state.jobs,
      direct: true,
      log: bench.log.log,
    });
    const failed = await invoke(later, await bench.waiting());
    const { sampledOut = 0, ...others } = await bench.fates();

    expect(failed).toEqual([]);
    expect(others).toEqual({ "answered.2xx": 100 - sampledOut });
    expect(Math.abs(sampledOut - 90)).toBeLessThanOrEqual(10);
  });
});

/** The message as a redrive would have sent it. */
function claimRedrive(message: OutgoingMessage, count: number): OutgoingMessage {
  const redrive = { count, at: "2026-01-01T00:00:00.000Z" };
  return { ...message, body: JSON.stringify({ ...JSON.parse(message.body), redrive }) };
}

class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<Answer>((resolve) => {
    this.open = () => resolve({ status: 200 });
  });
}

/** A ledger that fails to write the fates of one pack. */
function failingFor(packId: string): ReplayDeps["ledger"] {
  return {
    fannedOut: async () => new Set<string>(),
    recordFanOut: async () => {},
    settle: async (_target, id) => {
      if (id === packId) throw new StateError("the ledger is gone");
    },
    reopen: async () => {},
    move: async () => {},
    sheet: async () => new Uint8Array(),
    totals: async () => ({ agents: [], targets: new Map() }),
  };
}

/** A ledger whose `settle` waits until the test ends it. */
class SlowSettle {
  readonly calls: { readonly indexes: readonly number[]; readonly succeed: () => void; readonly fail: () => void }[] =
    [];
  readonly ledger: ReplayDeps["ledger"] = {
    ...failingFor(""),
    settle: (_target, _pack, settlement) =>
      new Promise((resolve, reject) => {
        this.calls.push({
          indexes: [...settlement.keys()].sort(),
          succeed: resolve,
          fail: () => reject(new StateError("not now")),
        });
      }),
  };
}

function appWithRounds(bench: ReplayBench, shadow: ShadowServer, rounds: SlotRounds, clock: Clock = systemClock) {
  const config = target({ url: shadow.url, ratePerSecond: 4 });
  return createReplay({
    lane: laneOf(config, bench.state, new Pacer(config.name, fixedRate(4), rounds, clock)),
    queue: bench.queue,
    deadLetters: bench.queue.deadLetters,
    ledger: bench.state.ledger,
    jobs: bench.state.jobs,
    log: bench.log.log,
  });
}
