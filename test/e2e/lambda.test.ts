import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { changeSettings } from "../../relay/state/target-control.ts";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { LambdaApi, replayArn } from "../support/lambda/lambda-api.ts";
import { toLambdaEvent } from "../support/lambda/lambda-mapping.ts";
import { bundleFunctions, LambdaRig } from "../support/lambda/lambda-rig.ts";
import { SleepyShadow } from "../support/lambda/lambda-shadow.ts";
import { urlEvent } from "../support/lambda/url-event.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-lambda-"));
const done = { batchItemFailures: [] };

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("the fan-out in Lambda", () => {
  it("puts each target's share into its queue", async () => {
    const rig = await LambdaRig.start(bundles, {
      all: "url: http://127.0.0.1:9, rate: 1/s",
      even: 'url: http://127.0.0.1:9, rate: 1/s, when: { path: "[02468]$" }',
    });
    const lambda = await rig.open("fanout");
    await rig.send("packs", ...packs(3, 10));

    expect(await rig.deliver(lambda, "packs", 3)).toEqual(done);

    expect([rig.inspect("packs-all").ready, rig.inspect("packs-even").ready]).toEqual([3, 3]);
    expect(await rig.ledger("all")).toEqual({ enqueued: 30 });
    expect(await rig.ledger("even")).toEqual({ enqueued: 30, filtered: 15 });
    expect(rig.isEmpty("packs", "packs-dlq")).toBe(true);
  });

  it("moves undecodable packs to the dead letters at once, with the reason, and handles the rest of the batch", async () => {
    const rig = await LambdaRig.start(bundles, twoTargets("http://127.0.0.1:9"));
    const lambda = await rig.open("fanout");
    const [good, other] = packs(2, 5);
    const bomb = sealed(zstdCompressSync(Buffer.alloc(100_000_000)), 1_000);
    const lie = sealed(zstdCompressSync(Buffer.alloc(1_000)), 2_000);
    const huge = sealed(zstdCompressSync(Buffer.alloc(1_000)), 4_000_000_000);
    const poison = [Buffer.from("garbage"), bomb, lie, huge];
    await rig.send("packs", good, ...poison.map((pack) => ({ ...good, pack })), other);

    expect(await rig.deliver(lambda, "packs", 6)).toEqual(done);

    const letters = await rig.deadLetters("packs");
    expect(letters.map(({ reason }) => reason).sort()).toEqual([
      expect.stringContaining("announces 2000 bytes but contains 1000"),
      expect.stringContaining("announces 4000000000 bytes"),
      expect.stringContaining("cannot be decompressed"),
      expect.stringContaining("does not begin with SRPK"),
    ]);
    expect(rig.inspect("packs-a").ready).toBe(2);
    expect(await rig.ledger("a")).toEqual({ enqueued: 10 });
  });
});

describe("the replay in Lambda", () => {
  it("sends the requests that wait for the target, and records their fates", async () => {
    const shadow = await ShadowServer.start(({ path }) => ({ status: path === "/3" ? 500 : 200 }));
    const rig = await LambdaRig.start(bundles, twoTargets(shadow.url.origin));
    const [fanOut, replay] = await Promise.all([rig.open("fanout"), rig.open("replay", { RELAY_TARGET: "a" })]);
    await rig.send("packs", ...packs(2, 10));

    await rig.deliver(fanOut, "packs", 2);
    expect(await rig.deliver(replay, "packs-a", 2)).toEqual(done);

    expect(shadow.received).toHaveLength(20);
    expect(await rig.ledger("a")).toEqual({ enqueued: 20, "answered.2xx": 18, "answered.5xx": 2 });
    expect(rig.isEmpty("packs-a", "packs-a-dlq")).toBe(true);
  });

  it("receives packs straight from the agents if there is only one target, without a fan-out", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, { only: `url: ${shadow.url.origin}, rate: unlimited` });
    const lambda = await rig.open("replay", { RELAY_TARGET: "only" });
    await rig.send("packs", ...packs(3, 10), { ...packs(1, 1)[0], pack: Buffer.from("garbage") });

    expect(await rig.deliver(lambda, "packs", 4)).toEqual(done);

    expect(shadow.received).toHaveLength(30);
    expect(await rig.ledger("only")).toEqual({ enqueued: 30, "answered.2xx": 30 });
    expect(await rig.deadLetters("packs")).toMatchObject([{ reason: expect.stringContaining("SRPK") }]);
    const { agents } = await rig.state.ledger.totals();
    expect(agents).toMatchObject([{ packs: 3, requests: 30 }]);
  });

  it("sends back the requests that it has no time for, as a smaller pack, before the old one is deleted", async () => {
    // Slow enough for requests to be in flight when the last one is sent.
    const shadow = await ShadowServer.start(async () => {
      await sleep(200);
      return { status: 200 };
    });
    const rig = await LambdaRig.start(bundles, {
      ...twoTargets(shadow.url.origin),
      a: `url: ${shadow.url.origin}, rate: 20/s, timeout: 1500ms`,
    });
    const timeoutMs = 7_000;
    const start = () => rig.open("replay", { RELAY_TARGET: "a" });
    const lambda = await start();
    await rig.send("packs-a", ...packs(1, 200, { method: "POST", body: Buffer.from("once only") }));

    const whole = await rig.receive("packs-a", 1);
    const startMs = performance.now();
    expect(await lambda.invoke(toLambdaEvent(whole), timeoutMs)).toEqual(done);
    const tookMs = performance.now() - startMs;
    const sent = shadow.received.length;
    const rest = rig.waiting("packs-a");
    await rig.delete("packs-a", whole);
    const mapping = rig.map("packs-a", { start, batch: 1, timeoutMs, visibilityMs: 10_000 });
    await until(() => shadow.received.length >= 200, 60_000);
    await mapping.stop();

    expect(sent).toBeGreaterThan(20);
    expect(sent).toBeLessThan(120);
    expect(tookMs).toBeLessThan(timeoutMs - 1_000);
    expect(rest).toMatchObject([{ count: 200 - sent }]);
    expect(new Set(shadow.paths).size).toBe(200);
    expect(shadow.received).toHaveLength(200);
    expect([mapping.failures, mapping.mostReceives]).toEqual([[], 1]);
    expect(mapping.invocations).toBeGreaterThanOrEqual(2);
    expect(rig.isEmpty("packs-a", "packs-a-dlq")).toBe(true);
    expect(await answered(rig, "a")).toBe(200);
  }, 90_000);

  it.each([
    ["a pause", ""],
    ["its window", `, window: "${inTwoHours()} UTC"`],
  ])("sends nothing because of %s, and sends the packs back with a delay", async (why, changes) => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, {
      ...twoTargets(shadow.url.origin),
      a: `url: ${shadow.url.origin}, rate: unlimited${changes}`,
    });
    if (why === "a pause") await rig.state.controls.write("a", changeSettings({}, { paused: true }), 0);
    const lambda = await rig.open("replay", { RELAY_TARGET: "a" });
    await rig.send("packs-a", ...packs(3, 10));

    expect(await rig.deliver(lambda, "packs-a", 3)).toEqual(done);

    expect(shadow.received).toEqual([]);
    expect(rig.inspect("packs-a")).toEqual({ ready: 0, delayed: 3, inFlight: 0 });
    expect(rig.delayed("packs-a").map(({ count, attempt }) => [count, attempt])).toEqual([
      [10, undefined],
      [10, undefined],
      [10, undefined],
    ]);
  });

  it("sends nothing while DynamoDB is away, logs that once, and loses nothing", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, twoTargets(shadow.url.origin));
    const [fanOut, replay] = await Promise.all([rig.open("fanout"), rig.open("replay", { RELAY_TARGET: "a" })]);
    await rig.send("packs", ...packs(3, 10));
    await rig.send("packs-a", ...packs(3, 10));
    await rig.dynamo.stop();

    expect(await rig.deliver(fanOut, "packs", 3)).toEqual(done);
    expect(await rig.deliver(replay, "packs-a", 3)).toEqual(done);

    expect(shadow.received).toEqual([]);
    expect(rig.inspect("packs")).toEqual({ ready: 0, delayed: 3, inFlight: 0 });
    expect(rig.inspect("packs-a")).toEqual({ ready: 0, delayed: 3, inFlight: 0 });
    for (const { logs } of [fanOut, replay]) {
      await until(() => logs.length > 0);
      expect(logs).toMatchObject([
        {
          level: "error",
          event: "state-down",
          reason: expect.stringContaining("DynamoDB in us-east-1 does not answer"),
        },
      ]);
    }
  });

  it("stops within a second when DynamoDB goes away, and the pack is delivered again", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, {
      ...twoTargets(shadow.url.origin),
      a: `url: "${shadow.url.origin}", rate: 50/s`,
    });
    const lambda = await rig.open("replay", { RELAY_TARGET: "a" });
    await rig.send("packs-a", ...packs(1, 500));
    const [whole] = await rig.receive("packs-a", 1);
    const answering = lambda.invoke(toLambdaEvent([whole]), 60_000);
    await until(() => shadow.received.length > 40);
    await rig.dynamo.stop();
    const before = shadow.received.length;

    expect(await answering).toEqual({ batchItemFailures: [{ itemIdentifier: whole.messageId }] });
    const startMs = performance.now();
    const [again] = await rig.receive("packs-a", 1);

    // Two rounds of slots take less than a second.
    expect(shadow.received.length - before).toBeLessThan(50);
    expect([again.messageId, again.receiveCount]).toEqual([whole.messageId, 2]);
    expect(performance.now() - startMs).toBeLessThan(30_000);
    await until(() => lambda.logs.length > 0);
    expect(lambda.logs).toMatchObject([{ level: "error", event: "state-down" }]);
  }, 60_000);
});

describe("a function that was frozen", () => {
  it.each(["closed", "forgotten"] as const)(
    "loses no request over connections that the shadow has %s while it was frozen",
    async (fate) => {
      const shadow = await SleepyShadow.start(fate);
      const rig = await LambdaRig.start(bundles, {
        ...twoTargets(shadow.url),
        a: `url: "${shadow.url}", rate: unlimited, concurrency: 8, timeout: 2s`,
      });
      const lambda = await rig.open("replay", { RELAY_TARGET: "a" });
      await rig.send("packs-a", ...packs(3, 40, { method: "POST", body: Buffer.from("once only") }));

      for (let pack = 0; pack < 3; pack++) {
        expect(await rig.deliver(lambda, "packs-a", 1)).toEqual(done);
        await lambda.freeze();
        await until(() => shadow.asleep);
        lambda.thaw();
      }

      expect(shadow.connections).toBeGreaterThan(8);
      expect([shadow.paths.length, shadow.lost]).toEqual([120, 0]);
      expect(await answered(rig, "a")).toBe(120);
      expect(rig.isEmpty("packs-a", "packs-a-dlq")).toBe(true);
      expect(lambda.logs).toEqual([]);
    },
  );
});

describe("functions that are killed", () => {
  it("lose nothing, whenever they are killed, and the ledger adds up in the end", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, {
      ...twoTargets(shadow.url.origin),
      a: `url: ${shadow.url.origin}, rate: 150/s, timeout: 1s`,
    });
    const options = { timeoutMs: 20_000, visibilityMs: 2_000 };
    const fanOut = rig.map("packs", { start: () => rig.open("fanout"), batch: 3, ...options });
    const replay = rig.map("packs-a", { start: () => rig.open("replay", { RELAY_TARGET: "a" }), batch: 2, ...options });
    await rig.send("packs", ...packs(12, 100));

    for (let kills = 0; kills < 10; kills++) {
      // The fan-out of a batch takes about 30 ms, the replay of one more than a second.
      const [mapping, withinMs] = kills < 4 ? [fanOut, 30] : [replay, 1_300];
      // If the machine stalls, all four batches may be fanned out before the fan-out was killed four times.
      await until(() => mapping.busy || (mapping === fanOut && rig.isEmpty("packs")));
      // The first kill is certainly in the middle of an invocation.
      if (kills > 0) await sleep(Math.random() * withinMs);
      await mapping.process?.kill();
    }
    await until(() => rig.isEmpty("packs", "packs-a"), 60_000);
    await Promise.all([fanOut.stop(), replay.stop()]);

    expect(fanOut.failures.length).toBeGreaterThan(0);
    expect(replay.failures.length).toBeGreaterThan(2);
    expect(new Set(shadow.received.map(({ headers }) => headers["x-mirror-id"])).size).toBe(1_200);
    expect(await rig.ledger("a")).toEqual({ enqueued: 1_200, "answered.2xx": 1_200 });
    expect(rig.isEmpty("packs-dlq", "packs-a-dlq")).toBe(true);
  }, 120_000);

  it("lose nothing if they read the ingress queue themselves", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, { only: `url: "${shadow.url.origin}", rate: 150/s, timeout: 500ms` });
    const start = () => rig.open("replay", { RELAY_TARGET: "only" });
    // The timeout is also short: packs are sent back in parts.
    const replay = rig.map("packs", { start, batch: 2, timeoutMs: 4_000, visibilityMs: 4_000 });
    await rig.send("packs", ...packs(6, 100));

    for (let kills = 0; kills < 3; kills++) {
      await until(() => replay.busy);
      await sleep(Math.random() * 1_300);
      await replay.process?.kill();
    }
    await until(() => rig.isEmpty("packs"), 60_000);
    await replay.stop();

    expect(replay.failures.length).toBeGreaterThan(0);
    expect(new Set(shadow.received.map(({ headers }) => headers["x-mirror-id"])).size).toBe(600);
    expect(await rig.ledger("only")).toEqual({ enqueued: 600, "answered.2xx": 600 });
    expect((await rig.state.ledger.totals()).agents).toMatchObject([{ packs: 6, requests: 600 }]);
    expect(rig.isEmpty("packs-dlq")).toBe(true);
  }, 120_000);
});

describe("the schedule in Lambda", () => {
  it("switches off only the mappings of paused targets", async () => {
    const rig = await LambdaRig.start(bundles, twoTargets("http://127.0.0.1:9"));
    const api = await LambdaApi.start({ a: "Enabled", b: "Enabled" });
    await rig.state.controls.write("b", changeSettings({}, { paused: true }), 0);
    const lambda = await rig.open("schedule", {
      AWS_ENDPOINT_URL_LAMBDA: api.endpoint,
      RELAY_MAPPINGS: JSON.stringify({ a: replayArn("a"), b: replayArn("b") }),
    });

    await lambda.invoke({ source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" }, 30_000);

    expect(api.turned).toEqual(["turn off b"]);
    await until(() => lambda.logs.length > 0);
    expect(lambda.logs).toMatchObject([{ event: "switched", target: "b", on: false, reason: "paused" }]);
  });
});

describe("the control API in Lambda", () => {
  it("answers requests to its function URL, and its changes apply to all functions", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(bundles, twoTargets(shadow.url.origin));
    const api = await LambdaApi.start({ a: "Enabled" });
    const mappings = { AWS_ENDPOINT_URL_LAMBDA: api.endpoint, RELAY_MAPPINGS: JSON.stringify({ a: replayArn("a") }) };
    const [control, replay] = await Promise.all([
      rig.open("control", mappings),
      rig.open("replay", { RELAY_TARGET: "a" }),
    ]);
    await rig.send("packs-a", ...packs(1, 10));

    const changed = await control.invoke(urlEvent("PATCH", "/v1/targets/a", '{"paused":true}'), 30_000);
    await rig.deliver(replay, "packs-a", 1);
    const targets = await control.invoke(urlEvent("GET", "/v1/targets"), 30_000);

    expect([changed, targets]).toMatchObject([{ statusCode: 200 }, { statusCode: 200 }]);
    expect(JSON.parse((targets as { readonly body: string }).body)).toMatchObject({
      targets: [{ name: "a" }, { name: "b" }],
    });
    expect(shadow.received).toEqual([]);
    expect(rig.inspect("packs-a").delayed).toBe(1);
    await control.invoke(urlEvent("POST", "/v1/targets/a/resume"), 30_000);
    expect(api.turned).toEqual(["turn off a", "turn on a"]);
  });

  it("answers errors with the right status, and asks for no token", async () => {
    const rig = await LambdaRig.start(bundles, twoTargets("http://127.0.0.1:9"));
    const control = await rig.open("control");

    expect(await control.invoke(urlEvent("GET", "/v1/targets/nobody"), 30_000)).toMatchObject({
      statusCode: 404,
      headers: { "content-type": "application/problem+json" },
    });
    expect(await control.invoke(urlEvent("PATCH", "/v1/targets/a", '{"rate":-1}'), 30_000)).toMatchObject({
      statusCode: 400,
    });
    await rig.dynamo.stop();
    expect(await control.invoke(urlEvent("GET", "/v1/targets"), 30_000)).toMatchObject({ statusCode: 503 });
  });
});

describe("a function in Lambda", () => {
  it("logs why it does not start", async () => {
    const rig = await LambdaRig.start(bundles, twoTargets("http://127.0.0.1:9"));

    await expect(rig.open("replay", { RELAY_TARGET: "c" })).rejects.toThrow(
      "there is no target c; the configuration has: a, b",
    );
    await expect(rig.open("fanout", { RELAY_CONFIG: "/nowhere.yaml" })).rejects.toThrow(
      "/nowhere.yaml: cannot be read",
    );
  });

  it("fails for an unknown event, and names its keys", async () => {
    const rig = await LambdaRig.start(bundles, twoTargets("http://127.0.0.1:9"));
    const lambda = await rig.open("fanout");

    await expect(lambda.invoke({ hello: "world" }, 30_000)).rejects.toThrow(
      "LambdaError: unknown event: expected one from SQS, a schedule or a function URL; got: hello",
    );
  });
});

/** Two targets, `a` and `b`, so that each has its own queue. */
function twoTargets(url: string): Record<"a" | "b", string> {
  return { a: `url: "${url}", rate: unlimited`, b: `url: "${url}", rate: unlimited` };
}

/** Packs of one agent with `requestsEach` requests each, all with different paths. */
function packs(count: number, requestsEach: number, changes: Parameters<typeof requests>[1] = {}) {
  return Array.from({ length: count }, (_, i) =>
    packMessage({ sequence: i + 1, requests: requests(requestsEach, { capturedAtMs: Date.now(), ...changes }) }),
  );
}

/** An envelope whose header announces `announcedBytes`. */
function sealed(payload: Buffer, announcedBytes: number): Buffer {
  const header = Buffer.alloc(14);
  header.write("SRPK");
  header.set([1, 1], 4);
  header.writeUInt32BE(announcedBytes, 6);
  header.writeUInt32BE(crc32(payload), 10);
  return Buffer.concat([header, payload]);
}

/** A window of one hour that begins in two hours. */
function inTwoHours(): string {
  const clock = (ms: number) => new Date(ms).toISOString().slice(11, 16);
  return `${clock(Date.now() + 7_200_000)}-${clock(Date.now() + 10_800_000)}`;
}

async function answered(rig: LambdaRig, target: string): Promise<number | undefined> {
  return (await rig.ledger(target))["answered.2xx"];
}
