import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../../relay/clock.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import type { Pack } from "../../../relay/pack/pack.ts";
import type { Lane } from "../../../relay/replay/lane.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { replayPack } from "../../../relay/replay/replay.ts";
import type { ReplayResult } from "../../../relay/replay/replay-result.ts";
import type { Controls, SlotRounds } from "../../../relay/state/port.ts";
import { openBreaker } from "../../../relay/state/target-control.ts";
import { ManualClock } from "../../support/clocks/manual-clock.ts";
import { failingRounds, fixedRate, laneOf, openState } from "../../support/data/lanes.ts";
import { pack, requests } from "../../support/data/packs.ts";
import { target } from "../../support/data/targets.ts";
import { type Answer, ShadowServer } from "../../support/servers/shadow-server.ts";
import { isWhole, WireServer } from "../../support/servers/wire-server.ts";

describe("replayPack: order and concurrency", () => {
  it("keeps the order of the capture with a concurrency of 1, even across packs", async () => {
    const shadow = await ShadowServer.start();
    const lane = laneTo(shadow, { concurrency: 1 });
    const packs = [1, 2, 3].map((sequence) =>
      pack({ sequence, requests: requests(20).map((parts, i) => ({ ...parts, path: `/${sequence}/${i}` })) }),
    );
    await Promise.all(packs.map((each) => replay(lane, each)));

    expect(shadow.paths).toEqual(packs.flatMap((each) => each.requests.map(({ path }) => path)));
  });

  it("has as many requests in flight as its concurrency, and never more", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(() => gate.opened);
    const lane = laneTo(shadow, { concurrency: 4 });
    const replays = [1, 2, 3].map((sequence) => replay(lane, pack({ sequence, requests: requests(10) })));
    await shadow.arrived(4);
    gate.open();
    await Promise.all(replays);

    expect(shadow.mostAtOnce).toBe(4);
    expect(shadow.received.length).toBe(30);
  });

  it("sends the other requests while one hangs", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? "hang" : { status: 200 }));
    const { settled, again } = await replay(
      laneTo(shadow, { concurrency: 2, timeoutMs: hangTimeoutMs }),
      pack({ requests: requests(50) }),
    );

    expect(settled.size).toBe(49);
    expect(again.map(({ path }) => path)).toEqual(["/0"]);
  });
});

describe("replayPack: fates", () => {
  it.each([
    [204, "answered.2xx"],
    [301, "answered.3xx"],
    [404, "answered.4xx"],
    [500, "answered.5xx"],
    [503, "answered.5xx"],
    [999, "answered.5xx"],
  ])("for an answer with status %i are %s", async (status, fate) => {
    const shadow = await ShadowServer.start(() => ({ status }));

    expect((await replay(laneTo(shadow), pack({ requests: requests(1) }))).settled).toEqual(new Map([[0, fate]]));
  });

  it.each([
    ["truncated", ["content-length", "14"], "skipped"],
    ["omitted", ["content-length", "14"], "skipped"],
    ["omitted", ["content-length", "0"], "answered.2xx"],
    ["omitted", ["host", "a"], "answered.2xx"],
    ["complete", ["content-length", "14"], "answered.2xx"],
  ] as const)("for a body that is %s, with the headers %j, are %s", async (bodyState, headers, fate) => {
    const shadow = await ShadowServer.start();
    const { settled } = await replay(laneTo(shadow), pack({ requests: [{ bodyState, headers }] }));

    expect(settled.get(0)).toBe(fate);
    expect(shadow.received.length).toBe(fate === "skipped" ? 0 : 1);
  });

  it.each([
    ["a WebSocket", { method: "GET", headers: ["connection", "Upgrade", "upgrade", "websocket"] }],
    ["CONNECT", { method: "CONNECT", path: "example.com:443" }],
    ["OPTIONS *", { method: "OPTIONS", path: "*" }],
  ] as const)(
    "are `skipped` for %s of an older agent or an import, also if the target takes cut bodies",
    async (_, request) => {
      const shadow = await ShadowServer.start();
      const requests = [request, { method: "GET", path: "/next", headers: [] }];

      const { settled, dead } = await replay(laneTo(shadow, { truncated: "send" }), pack({ requests }));

      expect(dead.size).toBe(0);
      expect([settled.get(0), settled.get(1)]).toEqual(["skipped", "answered.2xx"]);
      expect(shadow.received.map(({ path }) => path)).toEqual(["/next"]);
    },
  );

  it("for an answer that is not HTTP are `answered.malformed`, and the result has its reason", async () => {
    const wire = await WireServer.start((bytes) => (isWhole(bytes) ? "HTTP/1.1 2000 OK\r\n\r\n" : undefined));
    const lane = laneOf(target({ url: wire.url }), openState());
    const { settled, malformed } = await replay(lane, pack({ requests: [{ method: "POST", path: "/orders" }] }));

    expect(settled).toEqual(new Map([[0, "answered.malformed"]]));
    const reason = "the answer is not HTTP: Invalid response status";
    expect(malformed).toEqual({ method: "POST", path: "/orders", reason });
  });

  it("of an incomplete body are those of its answer if the target accepts such bodies, which are marked as truncated", async () => {
    const shadow = await ShadowServer.start();
    const request = { bodyState: "truncated", body: Buffer.from("half"), headers: ["content-length", "8"] } as const;
    await replay(laneTo(shadow, { truncated: "send" }), pack({ requests: [request] }));

    expect(shadow.received[0].headers).toMatchObject({ "content-length": "4", "x-mirror-truncated": "true" });
    expect(shadow.received[0].body.toString()).toBe("half");
  });

  it("are `expired` for requests older than the maximum age of the target", async () => {
    const shadow = await ShadowServer.start();
    const nowMs = Date.now();
    const ages = [70_000, 70_000, 1_000];
    const parts = requests(3).map((part, i) => ({ ...part, capturedAtMs: nowMs - ages[i] }));
    // The times in a pack never go back, so the second request is as old as the first.
    const { settled } = await replay(laneTo(shadow, { maxAgeMs: 60_000 }), pack({ requests: parts }));

    expect([...settled.values()]).toEqual(["expired", "expired", "answered.2xx"]);
    expect(shadow.paths).toEqual(["/2"]);
  });
});

describe("replayPack: a request that is not delivered", () => {
  it("is returned while the others are finished, with a delay that doubles up to a minute", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "reset" : { status: 200 }));
    const lane = laneTo(shadow, { attempts: 100 });
    const delays = [];
    for (const attempt of [0, 1, 2, 5, 6, 50]) {
      const { again, delayMs, settled } = await replay(lane, pack({ attempt, requests: requests(3) }));
      expect([again.map(({ index }) => index), [...settled.keys()].sort()]).toEqual([[1], [0, 2]]);
      delays.push(delayMs);
    }

    expect(delays).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
  });

  it("is delayed as long as the shadow asks for", async () => {
    const shadow = await ShadowServer.start(() => ({ status: 503, headers: { "retry-after": "300" } }));
    const { again, delayMs } = await replay(laneTo(shadow), pack({ requests: requests(2) }));

    expect({ again: again.length, delayMs }).toEqual({ again: 2, delayMs: 300_000 });
  });

  it("is retried after a timeout if it is a GET, HEAD, PUT, DELETE or OPTIONS", async () => {
    const methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
    const shadow = await ShadowServer.start(() => "hang");
    const { again, dead } = await replay(
      laneTo(shadow, { timeoutMs: hangTimeoutMs }),
      pack({ requests: requests(5).map((part, i) => ({ ...part, method: methods[i] })) }),
    );

    expect([again.map(({ method }) => method), dead.size]).toEqual([methods, 0]);
  });

  it("is not retried after a timeout if it is a POST, a PATCH or has an unknown method", async () => {
    const methods = ["POST", "PATCH", "PURGE"];
    const shadow = await ShadowServer.start(() => "hang");
    const { again, dead } = await replay(
      laneTo(shadow, { timeoutMs: hangTimeoutMs }),
      pack({ requests: requests(3).map((part, i) => ({ ...part, method: methods[i] })) }),
    );

    expect(again).toEqual([]);
    expect([...dead.keys()]).toEqual(
      methods.map(
        (method) =>
          `no answer within ${hangTimeoutMs} ms; ${method} is not retried, because the shadow may have acted on it`,
      ),
    );
  });

  it.each(["POST", "PATCH", "PURGE"])(
    "is a dead letter at once if the connection ended after a %s was written",
    async (method) => {
      const shadow = await ShadowServer.start(() => "reset");
      const { again, dead } = await replay(laneTo(shadow), pack({ requests: [{ method }] }));

      expect([again.length, [...dead.keys()]]).toEqual([
        0,
        [
          `the shadow reset the connection (ECONNRESET) without an answer; ${method} is not retried, because the shadow may have acted on it`,
        ],
      ]);
    },
  );

  it("is retried if the connection ended after it was written and its method is idempotent", async () => {
    const methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"];
    const shadow = await ShadowServer.start(() => "reset");
    const parts = requests(5).map((part, i) => ({ ...part, method: methods[i] }));
    const { again, dead } = await replay(laneTo(shadow), pack({ requests: parts }));

    expect([again.map(({ method }) => method), dead.size]).toEqual([methods, 0]);
  });

  it("does not hold the others: an endpoint that always fails leaves the breaker closed", async () => {
    const wire = await WireServer.start((bytes) => {
      if (!isWhole(bytes)) return undefined;
      const [, kind] = /^[A-Z]+ \/(\w+)/.exec(bytes.toString("latin1")) ?? [];
      if (kind === "good") return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
      return kind === "malformed" ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" : "";
    });
    const config = target({ url: wire.url, breaker: { failures: 3, probeAfterMs: 60_000 }, concurrency: 1 });
    const lane = laneOf(config, openState());
    const kinds = [...Array(12).fill("malformed"), ...Array(12).fill("closed"), ...Array(60).fill("good")];
    const parts = kinds.map((kind, i) => ({ path: `/${kind}/${i}`, method: i % 2 ? "POST" : "GET" }));
    const { settled, again, dead, unsent } = await replay(lane, pack({ requests: parts }));

    const fates = Map.groupBy(settled.values(), (fate) => fate);
    expect([fates.get("answered.2xx")?.length, fates.get("answered.malformed")?.length]).toEqual([60, 12]);
    expect([again.length, [...dead.values()].flat().length, unsent.length]).toEqual([6, 6, 0]);
  });

  it("is a dead letter after the last attempt, with the reason", async () => {
    const shadow = await ShadowServer.start();
    const lane = laneTo(shadow, { attempts: 3 });
    await shadow.close();
    const { again, dead } = await replay(lane, pack({ attempt: 2, requests: requests(2) }));

    expect(again).toEqual([]);
    expect([...dead].map(([reason, those]) => [reason.slice(-11), those.length])).toEqual([["(attempt 3)", 2]]);
  });

  it("is a dead letter at once if it cannot be sent as HTTP, without harm to the others", async () => {
    const shadow = await ShadowServer.start();
    const paths = ["/0", "http://other/", "/a b", "/3"];
    const parts = requests(4).map((part, i) => ({ ...part, path: paths[i] }));
    const { settled, dead } = await replay(laneTo(shadow, { concurrency: 1 }), pack({ requests: parts }));

    expect([...settled.keys()]).toEqual([0, 3]);
    expect([...dead.values()].map((those) => those.map(({ index }) => index))).toEqual([[1], [2]]);
  });
});

describe("replayPack: pacing and stopping", () => {
  it("sends each request at its slot", async () => {
    const clock = new ManualClock(startUs);
    const times: number[] = [];
    const shadow = await ShadowServer.start(() => {
      times.push(clock.nowUs());
      return { status: 200 };
    });
    const replaying = replay(laneTo(shadow, {}, pacerOf(openState().rounds, clock)), pack({ requests: requests(5) }));
    for (let sent = 1; sent <= 5; sent++) {
      await clock.runUntil(startUs + (sent - 1) * slotUs);
      await shadow.arrived(sent);
    }
    await replaying;

    expect(times).toEqual([0, 1, 2, 3, 4].map((slot) => startUs + slot * slotUs));
  });

  it("sends nothing without a slot, and says why", async () => {
    const shadow = await ShadowServer.start();
    const result = await replay(
      laneTo(shadow, {}, pacerOf(failingRounds("at once"), systemClock)),
      pack({ requests: requests(3) }),
    );

    expect(result.unsent.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(result.failure?.message).toBe("the state is gone");
    expect(shadow.received).toEqual([]);
  });

  it("sends no probe without a slot", async () => {
    const shadow = await ShadowServer.start();
    const state = openState();
    await state.controls.write("staging", openBreaker({}, Date.now() - 5_000, 1_000, "refused"), 0);
    const lane = laneOf(target({ url: shadow.url }), state, pacerOf(failingRounds("at once"), systemClock));
    const { unsent, failure } = await replay(lane, pack({ requests: requests(1) }));

    expect((await state.controls.read("staging")).control.breaker?.probes).toBe(1);
    expect([unsent.length, failure?.message]).toEqual([1, "the state is gone"]);
    expect(shadow.received).toEqual([]);
  });

  it("gives up its slot if the target is paused while it waits", async () => {
    const clock = new ManualClock(startUs);
    const shadow = await ShadowServer.start();
    const state = openState();
    const config = target({ url: shadow.url, ratePerSecond: 0.2 });
    const live = new LiveTarget(config, state.controls, () => clock.nowUs() / 1_000);
    const lane = { ...laneOf(config, state, new Pacer(config.name, live, state.rounds, clock)), live };
    const replaying = replay(lane, pack({ requests: requests(3) }));
    await shadow.arrived(1);
    await state.controls.write(config.name, { settings: { paused: true } }, 0);
    await clock.runUntil(startUs + 15_000_000);
    const { unsent, failure } = await replaying;

    expect([unsent.map(({ index }) => index), failure]).toEqual([[1, 2], undefined]);
    expect(shadow.paths).toEqual(["/0"]);
  });

  it("keeps the outcomes of the requests that were sent before the state failed", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "hang" : { status: 200 }));
    const clock = new ManualClock(startUs);
    const lane = laneTo(shadow, { timeoutMs: hangTimeoutMs }, pacerOf(failingRounds("after the first round"), clock));
    const replaying = replay(lane, pack({ requests: requests(5, { method: "POST" }) }));
    await clock.runUntil(startUs + 3_000_000);
    const { settled, dead, unsent } = await replaying;

    expect([...settled.keys()].sort()).toEqual([0, 2]);
    expect([...dead.values()].flat().map(({ index }) => index)).toEqual([1]);
    expect(unsent.map(({ index }) => index)).toEqual([3, 4]);
  });

  it("returns unsent requests when the signal is aborted, and finishes those in flight", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(() => gate.opened);
    const stop = new AbortController();
    const replaying = replay(laneTo(shadow, { concurrency: 2 }), pack({ requests: requests(6) }), stop.signal);
    await shadow.arrived(2);
    stop.abort();
    gate.open();
    const { settled, unsent } = await replaying;

    expect([...settled.keys()].sort()).toEqual([0, 1]);
    expect(unsent.map(({ index }) => index)).toEqual([2, 3, 4, 5]);
    expect(shadow.received.length).toBe(2);
  });

  it("stops while it waits for a slot", async () => {
    const clock = new ManualClock(startUs);
    const shadow = await ShadowServer.start();
    const stop = new AbortController();
    const lane = laneTo(shadow, {}, pacerOf(openState().rounds, clock));
    const replaying = replay(lane, pack({ requests: requests(4) }), stop.signal);
    await shadow.arrived(1);
    stop.abort();
    const { settled, unsent } = await replaying;

    expect([[...settled.keys()], unsent.map(({ index }) => index)]).toEqual([[0], [1, 2, 3]]);
    expect((await replay(laneTo(shadow), pack({ requests: requests(1) }))).settled.size).toBe(1);
  });
});

describe("replayPack: order by key", () => {
  const orderBy = { by: "cookie", name: "user" } as const;
  const ofUsers = (...users: readonly (string | undefined)[]) =>
    requests(users.length).map((part, i) => ({
      ...part,
      headers: users[i] === undefined ? [] : ["cookie", `user=${users[i]}`],
    }));

  it("sends the requests of a key one after the other, even across packs, and other keys in parallel", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? gate.opened : { status: 200 }));
    const lane = laneTo(shadow, { orderBy });
    const first = replay(lane, pack({ sequence: 1, requests: ofUsers("ann", "bob", "ann", undefined) }));
    const later = ofUsers("ann").map((part) => ({ ...part, path: "/later" }));
    const second = replay(lane, pack({ sequence: 2, requests: later }));
    await shadow.arrived(3);
    const meanwhile = [...shadow.paths].sort();
    gate.open();
    await Promise.all([first, second]);

    expect(meanwhile).toEqual(["/0", "/1", "/3"]);
    expect(shadow.paths.slice(3)).toEqual(["/2", "/later"]);
  });

  it("holds back the requests behind a request of the same key that is retried", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "reset" : { status: 200 }));
    const { again, behind, settled } = await replay(
      laneTo(shadow, { orderBy }),
      pack({ requests: ofUsers("ann", "ann", "bob", "ann", "ann") }),
    );

    expect(again.map(({ index }) => index)).toEqual([1]);
    expect(behind.map(({ index }) => index)).toEqual([3, 4]);
    expect([...settled.keys()].sort()).toEqual([0, 2]);
  });

  it("continues with the next request of the key if one becomes a dead letter", async () => {
    const shadow = await ShadowServer.start();
    const parts = ofUsers("ann", "ann").map((part, i) => (i === 0 ? { ...part, path: "no path" } : part));
    const { dead, settled } = await replay(laneTo(shadow, { orderBy }), pack({ requests: parts }));

    expect([[...dead.values()].flat().map(({ index }) => index), [...settled.keys()]]).toEqual([[0], [1]]);
  });

  it("returns all unsent requests of a key", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(() => gate.opened);
    const stop = new AbortController();
    const replaying = replay(
      laneTo(shadow, { orderBy }),
      pack({ requests: ofUsers("ann", "ann", "ann", "bob") }),
      stop.signal,
    );
    await shadow.arrived(2);
    stop.abort();
    gate.open();
    const { unsent, settled } = await replaying;

    expect([[...settled.keys()].sort(), unsent.map(({ index }) => index)]).toEqual([
      [0, 3],
      [1, 2],
    ]);
  });
});

describe("replayPack: its end", () => {
  it("waits until the breaker that it opened is written to the state", async () => {
    const shadow = await ShadowServer.start();
    const { url } = shadow;
    await shadow.close();
    const asked = Promise.withResolvers<void>();
    const allowed = Promise.withResolvers<boolean>();
    const controls: Controls = {
      read: async () => ({ control: {}, version: 0 }),
      write: () => {
        asked.resolve();
        return allowed.promise;
      },
    };
    const config = target({ url, breaker: { failures: 1, probeAfterMs: 1_000 } });
    const lane = { ...laneOf(config, openState()), live: new LiveTarget(config, controls) };
    const replayed = replay(lane, pack({ requests: requests(1) }));
    const ended = replayed.then(() => "ended");
    await asked.promise;
    const first = await Promise.race([ended, turn("waits")]);
    allowed.resolve(true);

    expect(first).toBe("waits");
    expect((await replayed).again.length).toBe(1);
  });

  it("throws an unexpected error once the other requests have their answers", async () => {
    const gate = new Gate();
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? { status: 200 } : gate.opened));
    const lane = laneTo(shadow);
    const settled: number[] = [];
    const failed = Promise.withResolvers<void>();
    const onSettled = (index: number) => {
      settled.push(index);
      if (index > 0) return;
      failed.resolve();
      throw new Error("broken");
    };
    const whole = pack({ requests: requests(3) });
    const { signal } = new AbortController();
    const replayed = replayPack(lane, whole, whole.requests, { signal, patient: false, onSettled });
    await Promise.all([failed.promise, shadow.arrived(3)]);
    gate.open();

    await expect(replayed).rejects.toThrow("broken");
    expect(settled.toSorted()).toEqual([0, 1, 2]);
  });
});

// Long enough to connect and to be answered, even on a machine that stalls for a moment.
const hangTimeoutMs = 1_500;

const startUs = 1_790_000_000_000_000;
// Three slots in a round.
const slotUs = 250_000;

function pacerOf(rounds: SlotRounds, clock: Clock = new ManualClock(startUs)): Pacer {
  return new Pacer("staging", fixedRate(1_000_000 / slotUs), rounds, clock);
}

/** Holds back an answer until the gate is open. */
class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<Answer>((resolve) => {
    this.open = () => resolve({ status: 200 });
  });
}

function laneTo(shadow: ShadowServer, changes: Partial<TargetConfig> = {}, pacer?: Pacer): Lane {
  return laneOf(target({ url: shadow.url, ...changes }), openState(), pacer);
}

async function replay(
  lane: Lane,
  whole: Pack,
  signal = new AbortController().signal,
): Promise<ReplayResult & { readonly settled: ReadonlyMap<number, string> }> {
  const settled = new Map<number, string>();
  const onSettled = (index: number, fate: string) => settled.set(index, fate);
  const result = await replayPack(lane, whole, whole.requests, { signal, patient: false, onSettled });
  return { ...result, settled };
}
