import { describe, expect, it } from "vitest";
import { parseTimes, type Times } from "../../../relay/config/time-windows.ts";
import { QueueError } from "../../../relay/queue/port.ts";
import { bucketOf } from "../../../relay/replay/latency-histogram.ts";
import { StateError } from "../../../relay/state/port.ts";
import { openBreaker, slowDown } from "../../../relay/state/target-control.ts";
import { fannedOut } from "../../contract/state-contract.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { pack, packMessage, requests } from "../../support/data/packs.ts";

describe("GET /v1/targets", () => {
  it("lists all targets in the order of the configuration", async () => {
    const bench = new ControlBench({ targets: [{ name: "staging" }, { name: "next" }, { name: "a" }] });

    const { status, json } = await bench.get("/v1/targets");
    expect(status).toBe(200);
    expect(json.targets.map(({ name }: { name: string }) => name)).toEqual(["staging", "next", "a"]);
  });
});

describe("GET /v1/targets/{target}", () => {
  it("has the settings in the form of the configuration", async () => {
    const window = parseTimes("00:00-24:00 UTC") as Times;
    const bench = new ControlBench({
      targets: [{ ratePerSecond: 0.5, sample: { fraction: 0.005 }, windows: [window] }],
    });

    expect((await bench.get("/v1/targets/staging")).json).toEqual({
      name: "staging",
      url: "http://127.0.0.1:9",
      rate: { configured: "30/min", live: "30/min" },
      concurrency: { configured: 8, live: 8 },
      sample: { configured: "0.5%", live: "0.5%" },
      paused: false,
      window: ["00:00-24:00 UTC"],
      blackout: [],
      pace: 1,
      waiting: { messages: 0, requests: 0 },
      deadLetters: { messages: 0, requests: 0 },
      enqueued: 0,
      fates: expect.objectContaining({ "answered.2xx": 0, deadLettered: 0 }),
    });
  });

  it("has the waiting requests, the dead letters and the fates", async () => {
    const bench = new ControlBench();
    await bench.queue.send([packMessage({ requests: requests(3) }), packMessage({ requests: requests(4) })]);
    await bench.queue.deadLetters.send([packMessage({ requests: requests(2) })]);
    await bench.state.ledger.settle("staging", pack().id, new Map([[0, "answered.5xx"]]));

    expect((await bench.get("/v1/targets/staging")).json).toMatchObject({
      waiting: { messages: 2, requests: 7 },
      deadLetters: { messages: 1, requests: 2 },
      fates: { "answered.5xx": 1 },
    });
  });

  it("says why nothing is sent while the breaker is open", async () => {
    const bench = new ControlBench();
    const openedAtMs = Date.UTC(2026, 8, 1, 12);
    await bench.state.controls.write("staging", openBreaker({}, openedAtMs, 1_000, "refused"), 0);

    expect((await bench.get("/v1/targets/staging")).json).toMatchObject({
      held: "the breaker has been open since 2026-09-01T12:00:00.000Z: refused",
      breaker: {
        openedAt: "2026-09-01T12:00:00.000Z",
        probeAt: "2026-09-01T12:00:01.000Z",
        probes: 0,
        reason: "refused",
      },
      paused: false,
    });
  });

  it("has the share of the rate that is sent after the shadow asked to slow down", async () => {
    const bench = new ControlBench();
    await bench.state.controls.write("staging", slowDown({}, Date.now()), 0);

    const { json } = await bench.get("/v1/targets/staging");
    expect(json.pace).toBeGreaterThanOrEqual(0.5);
    // It grows back to 1 within 10 s.
    expect(json.pace).toBeLessThan(1);
    expect(json.held).toBeUndefined();
  });

  it.each([
    [1.5, "90/min"],
    [0.1, "6/min"],
    [10 / 3_600, "10/h"],
    [100 / 60, "100/min"],
    [1 / 3, "20/min"],
    [0.01 / 3_600, "0.01/h"],
    [2.123, "2.123/s"],
    [200, "200/s"],
    [Number.POSITIVE_INFINITY, "unlimited"],
  ])("writes %d requests per second as %s", async (ratePerSecond, rate) => {
    const bench = new ControlBench({ targets: [{ ratePerSecond }] });

    expect((await bench.get("/v1/targets/staging")).json.rate.configured).toBe(rate);
    expect((await bench.send("PATCH", "/v1/targets/staging", { rate })).json.rate.live).toBe(rate);
  });
});

describe("PATCH /v1/targets/{target}", () => {
  it("changes only the named settings, and answers with the live ones", async () => {
    const bench = new ControlBench({ targets: [{ ratePerSecond: 200 }] });
    await bench.send("PATCH", "/v1/targets/staging", { concurrency: 3 });
    const { status, json } = await bench.send("PATCH", "/v1/targets/staging", { rate: "30/min", sample: "50%" });

    expect(status).toBe(200);
    expect(json).toMatchObject({
      rate: { configured: "200/s", live: "30/min" },
      concurrency: { configured: 8, live: 3 },
      sample: { configured: "100%", live: "50%" },
    });
    expect((await bench.state.controls.read("staging")).control).toEqual({
      settings: { ratePerSecond: 0.5, concurrency: 3, sample: 0.5 },
    });
    expect(bench.log.events).toEqual(["target-changed", "target-changed"]);
  });

  it("returns a setting to the configured value with null", async () => {
    const bench = new ControlBench({ targets: [{ ratePerSecond: 200 }] });
    await bench.send("PATCH", "/v1/targets/staging", { rate: "unlimited", sample: "0%", concurrency: 1, paused: true });
    const changed = await bench.get("/v1/targets/staging");
    const { json } = await bench.send("PATCH", "/v1/targets/staging", { rate: null, sample: null, paused: false });

    expect(changed.json).toMatchObject({ rate: { live: "unlimited" }, sample: { live: "0%" }, held: "paused" });
    expect(json).toMatchObject({ rate: { live: "200/s" }, sample: { live: "100%" }, paused: false });
    expect((await bench.state.controls.read("staging")).control).toEqual({ settings: { concurrency: 1 } });
  });

  it("keeps breaker and slowdown if workers write at the same time", async () => {
    const slow = slowDown({}, 1_000);
    let interruptions = 3;
    const bench = new ControlBench({
      faultyState: (state) => ({
        controls: {
          async write(name, control, version) {
            if (interruptions-- > 0) await state.controls.write(name, slow, version);
            return state.controls.write(name, control, version);
          },
        },
      }),
    });

    expect((await bench.send("PATCH", "/v1/targets/staging", { rate: "1/s" })).status).toBe(200);
    expect((await bench.state.controls.read("staging")).control).toEqual({ ...slow, settings: { ratePerSecond: 1 } });
  });

  it.each<[string, unknown, readonly string[]]>([
    [
      "a rate that is a word",
      { rate: "fast" },
      [`body.rate: "fast" is not a rate, such as 200/s, 30/min, 10/h or unlimited`],
    ],
    ["a rate of 0", { rate: "0/s" }, [`body.rate: "0/s" is not a rate`]],
    ["a rate below the lowest one", { rate: "0.001/h" }, [`body.rate: "0.001/h" is below 0.01/h, the lowest rate`]],
    [
      "a rate above the highest one",
      { rate: "1000000000/s" },
      [`body.rate: "1000000000/s" is above 1000000/s, the highest rate; use unlimited for more`],
    ],
    [
      "a concurrency that is no memory",
      { concurrency: 1e300 },
      ["body.concurrency: must be ", "body.concurrency: must be from 1 to 10000"],
    ],
    ["a rate that is a number", { rate: 5 }, [`body.rate: "5" has no unit: write 5/s, 5/min or 5/h`]],
    [
      "a rate that is a list",
      { rate: [] },
      ["body.rate: must be a rate, such as 200/s or 30/min or unlimited, or null"],
    ],
    ["a fraction as concurrency", { concurrency: 1.5 }, ["body.concurrency: must be a whole number"]],
    ["a text as concurrency", { concurrency: "many" }, ["body.concurrency: must be a whole number"]],
    ["a concurrency of 0", { concurrency: 0 }, ["body.concurrency: must be from 1 to 10000"]],
    ["a concurrency above the highest one", { concurrency: 10_001 }, ["body.concurrency: must be from 1 to 10000"]],
    ["a sample above 100%", { sample: "101%" }, [`body.sample: "101%" is not a percentage from 0% to 100%`]],
    ["a pause that is a text", { paused: "yes" }, ["body.paused: must be true or false"]],
    ["an unknown key", { rat: "1/s" }, ["body: unknown key rat; allowed here: rate, concurrency, sample, paused"]],
    ["an empty change", {}, ["body: has no setting to change; give at least one of rate, concurrency, sample, paused"]],
    ["a list", [], ["body: must be an object with these keys: rate"]],
    ["two mistakes", { rate: "x", sample: "y" }, ["body.rate: ", "body.sample: "]],
  ])("refuses %s, and changes nothing", async (_, body, mistakes) => {
    const bench = new ControlBench();
    const { status, type, json } = await bench.send("PATCH", "/v1/targets/staging", body);

    expect([status, type, json.title]).toEqual([400, "application/problem+json", "Bad Request"]);
    for (const mistake of mistakes) expect(json.detail).toContain(mistake);
    expect(json.errors.map(({ place }: { place: string }) => place)).toEqual(
      mistakes.map((mistake) => mistake.split(": ")[0]),
    );
    expect(await bench.state.controls.read("staging")).toEqual({ control: {}, version: 0 });
  });

  it.each([
    ["text that is not JSON", "{", "application/json", 400, "the body is not valid JSON"],
    ["nothing at all", "", "application/json", 400, "the body is not valid JSON"],
    ["a form", "rate=1/s", "application/x-www-form-urlencoded", 415, "with content-type: application/json"],
    ["JSON as text", '{"rate":"1/s"}', "text/plain", 415, "with content-type: application/json"],
    ["too much", JSON.stringify({ rate: "x".repeat(20_000) }), "application/json", 413, "is larger than 16384 bytes"],
  ])("refuses %s as a body", async (_, body, type, status, detail) => {
    const bench = new ControlBench();
    const answered = await bench.send("PATCH", "/v1/targets/staging", body, type);

    expect([answered.status, answered.type]).toEqual([status, "application/problem+json"]);
    expect(answered.json.detail).toContain(detail);
  });
});

describe("pause and resume", () => {
  it("hold a target and let it continue, with its other settings unchanged", async () => {
    const bench = new ControlBench();
    await bench.send("PATCH", "/v1/targets/staging", { rate: "1/s" });
    const paused = await bench.send("POST", "/v1/targets/staging/pause");
    const resumed = await bench.send("POST", "/v1/targets/staging/resume");

    expect(paused.json).toMatchObject({ paused: true, held: "paused", rate: { live: "1/s" } });
    expect(resumed.json).toMatchObject({ paused: false, rate: { live: "1/s" } });
    expect(resumed.json.held).toBeUndefined();
  });

  it("leave the breaker alone", async () => {
    const bench = new ControlBench();
    await bench.state.controls.write("staging", openBreaker({}, 1, 1_000, "refused"), 0);

    expect((await bench.send("POST", "/v1/targets/staging/resume")).json.breaker).toBeDefined();
  });
});

describe("GET /v1/targets/{target}/figures", () => {
  it("has counts and percentiles by minute and in total", async () => {
    const bench = new ControlBench();
    const minuteMs = Date.UTC(2026, 8, 1, 12, 30);
    await bench.state.figures.add("staging", minuteMs - 60_000, counts({ "answered.2xx": 3, [bucketOf(10)]: 3 }));
    await bench.state.figures.add(
      "staging",
      minuteMs,
      counts({ "answered.5xx": 1, undelivered: 2, [bucketOf(900)]: 1 }),
    );
    const { status, json } = await bench.get("/v1/targets/staging/figures?minutes=2");

    expect(status).toBe(200);
    expect([json.target, json.from, json.until]).toEqual([
      "staging",
      "2026-09-01T12:29:00.000Z",
      "2026-09-01T12:30:30.000Z",
    ]);
    expect(json.minutes).toMatchObject([
      { at: "2026-09-01T12:29:00.000Z", answered: { "2xx": 3, "5xx": 0 }, undelivered: 0 },
      { at: "2026-09-01T12:30:00.000Z", answered: { "2xx": 0, "5xx": 1 }, undelivered: 2 },
    ]);
    expect(json.total.answered).toEqual({ "1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 1, malformed: 0 });
    expect(json.total.latencyMs.p50 / 10).toBeCloseTo(1, 1);
    expect(json.total.latencyMs.p99 / 900).toBeCloseTo(1, 1);
    expect(json.minutes[0].latencyMs.p99 / 10).toBeCloseTo(1, 1);
  });

  it("has the shadow's time, the network's time, the age of requests and the number of expired credentials", async () => {
    const bench = new ControlBench();
    const minuteMs = Date.UTC(2026, 8, 1, 12, 30);
    const timed = {
      [bucketOf(20, "firstByte")]: 98,
      [bucketOf(500, "firstByte")]: 2,
      [bucketOf(3, "connect")]: 2,
      [bucketOf(86_400_000, "age")]: 100,
    };
    await bench.state.figures.add("staging", minuteMs, counts({ "answered.4xx": 9, "answered.expired": 7, ...timed }));
    const { total } = (await bench.get("/v1/targets/staging/figures?minutes=1")).json;

    expect([total.answered["4xx"], total.expiredCredentials]).toEqual([9, 7]);
    expect([
      total.shadowMs.p50 / 20,
      total.shadowMs.p99 / 500,
      total.networkMs.p50 / 3,
      total.ageMs.p99 / 86_400_000,
    ]).toEqual(Array(4).fill(expect.closeTo(1, 1)));
    expect("latencyMs" in total).toBe(false);
  });

  it("leaves out older minutes, other targets, and latencies without answers", async () => {
    const bench = new ControlBench();
    const minuteMs = Date.UTC(2026, 8, 1, 12, 30);
    await bench.state.figures.add("staging", minuteMs - 60_000, counts({ expired: 1 }));
    await bench.state.figures.add("next", minuteMs, counts({ expired: 1 }));
    await bench.state.figures.add("staging", minuteMs, counts({ skipped: 7 }));
    const { json } = await bench.get("/v1/targets/staging/figures?minutes=1");

    expect(json.minutes).toHaveLength(1);
    expect(json.total).toMatchObject({ skipped: 7, expired: 0 });
    expect("latencyMs" in json.total).toBe(false);
  });

  it("covers the last hour by default", async () => {
    expect((await new ControlBench().get("/v1/targets/staging/figures")).json.from).toBe("2026-09-01T11:31:00.000Z");
  });

  it.each([
    ["minutes=0", "query.minutes: must be from 1 to 20160"],
    ["minutes=20161", "query.minutes: must be from 1 to 20160"],
    ["minutes=x", "query.minutes: must be a whole number"],
    ["minutes=1.5", "query.minutes: must be a whole number"],
    ["minutes=", "query.minutes: must be a whole number"],
    ["minutes=5&hours=1", "query: unknown key hours; allowed here: minutes"],
  ])("refuses %s", async (query, detail) => {
    const { status, json } = await new ControlBench().get(`/v1/targets/staging/figures?${query}`);

    expect([status, json.detail]).toEqual([400, detail]);
  });
});

describe("GET /v1/ledger", () => {
  it("has the same answer as /stats", async () => {
    const bench = new ControlBench({ targets: [{ name: "staging" }, { name: "next" }] });
    await bench.queue.send([packMessage({ requests: requests(3) })]);
    await bench.send("PATCH", "/v1/targets/next", { rate: "5/s" });
    const [ledger, stats] = [await bench.get("/v1/ledger"), await bench.get("/stats")];

    expect([ledger.status, ledger.json]).toEqual([200, stats.json]);
    expect(ledger.json.targets).toMatchObject({ staging: { inQueue: 3 }, next: { live: { ratePerSecond: 5 } } });
  });
});

describe("GET /v1/ledger of runs that have ended", () => {
  async function withEndedRuns() {
    const bench = new ControlBench();
    for (const [pack, agent] of Object.entries({ p1: "edge~1", p2: "edge~2" })) {
      await bench.state.ledger.recordFanOut(fannedOut({ pack, agent, sequence: 3 }));
    }
    bench.nowMs += 16 * 86_400_000;
    await bench.state.fold();
    return bench;
  }

  it("has one row for each agent", async () => {
    const { json } = await (await withEndedRuns()).get("/v1/ledger");

    expect(json.agents).toEqual([]);
    expect(json.ended).toEqual([{ agent: "edge", runs: 2, packs: 2, requests: 20, missingPacks: 4 }]);
  });

  it("has the rows of runs that are asked for", async () => {
    const { json } = await (await withEndedRuns()).get("/v1/ledger?runs=edge~2%20edge~3");

    expect(json.agents).toEqual([{ agent: "edge~2", packs: 1, requests: 10, missingPacks: 2 }]);
    expect(json.ended).toEqual([{ agent: "edge", runs: 1, packs: 1, requests: 10, missingPacks: 2 }]);
  });

  it.each([
    ["runs=", "query.runs: must be up to 100 names with spaces between them"],
    [`runs=${"a%20".repeat(100)}a`, "query.runs: must be up to 100 names with spaces between them"],
    ["run=edge~1", "query: unknown key run; allowed here: runs"],
  ])("refuses %s", async (query, detail) => {
    const { status, json } = await new ControlBench().get(`/v1/ledger?${query}`);

    expect([status, json.detail]).toEqual([400, detail]);
  });
});

describe("errors of the control API", () => {
  it.each(["", "/figures"])("name the existing targets if one does not exist: %s", async (path) => {
    const { status, type, json } = await new ControlBench({ targets: [{ name: "a" }, { name: "b" }] }).get(
      `/v1/targets/nobody${path}`,
    );

    expect([status, type]).toEqual([404, "application/problem+json"]);
    expect(json).toEqual({
      type: "about:blank",
      title: "Not Found",
      status: 404,
      detail: "there is no target nobody; the configuration has: a, b",
    });
  });

  it.each(["/v1/targets/__proto__", "/v1/targets/constructor/figures", "/v1/queues/__proto__/dead-letters"])(
    "treat names of object properties as unknown targets: %s",
    async (path) => {
      expect((await new ControlBench().get(path)).status).toBe(404);
    },
  );

  it("are 404 for an unknown route", async () => {
    const { status, json } = await new ControlBench().send("POST", "/v1/targets/staging/explode");

    expect([status, json.detail]).toEqual([
      404,
      "there is no route /v1/targets/staging/explode; /openapi.json lists all routes",
    ]);
  });

  it.each([
    ["DELETE", "/v1/targets/staging", "GET, HEAD, PATCH"],
    ["PUT", "/v1/targets", "GET, HEAD"],
    ["GET", "/v1/targets/staging/pause", "POST"],
    ["POST", "/v1/targets/nobody/figures", "GET, HEAD"],
    ["GET", "/v1/queues/staging/dead-letters/redrive/", undefined],
    ["DELETE", "/v1/queues/staging/dead-letters/42", "GET, HEAD"],
    ["POST", "/v1/ledger", "GET, HEAD"],
    ["POST", "/v1/health", "GET, HEAD"],
    ["DELETE", "/metrics", "GET, HEAD"],
    ["PATCH", "/openapi.json", "GET, HEAD"],
    ["HEAD", "/v1/targets/staging/resume", "POST"],
    ["OPTIONS", "/v1/targets/staging", "GET, HEAD, PATCH"],
  ])("are 405 for a method that a path does not take, with those that it takes: %s %s", async (method, path, allow) => {
    const response = await new ControlBench().app.request(path, { method });

    expect([response.status, response.headers.get("allow") ?? undefined]).toEqual([allow ? 405 : 404, allow]);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
  });

  it("are 503 with the reason while the state does not answer", async () => {
    const bench = new ControlBench({
      faultyState: () => ({ controls: { read: () => Promise.reject(new StateError("DynamoDB is away")) } }),
    });
    const { status, json } = await bench.send("POST", "/v1/targets/staging/pause");

    expect([status, json.detail]).toEqual([503, "DynamoDB is away"]);
  });

  it("are 503 with the reason while a queue does not answer", async () => {
    const away = () => Promise.reject(new QueueError("UNAVAILABLE", "SQS is away"));
    const bench = new ControlBench({
      faultyQueue: ({ deadLetters }) => ({
        deadLetters: Object.assign(Object.create(deadLetters), { browse: away }),
        backlog: away,
      }),
    });
    const letters = await bench.get("/v1/queues/staging/dead-letters");
    const target = await bench.get("/v1/targets/staging");

    expect([letters.status, letters.json.detail]).toEqual([503, "SQS is away"]);
    // The target is still answered, without its queue.
    expect([target.status, target.json.problem, target.json.waiting]).toEqual([200, "SQS is away", {}]);
  });

  it("are 503 if other writers keep changing the same target", async () => {
    const bench = new ControlBench({ faultyState: () => ({ controls: { write: async () => false } }) });
    const { status, json } = await bench.send("POST", "/v1/targets/staging/pause");

    expect([status, json.detail]).toEqual([
      503,
      "others are changing staging at the same time: nothing was changed; try again",
    ]);
  });

  it("hide the text of an internal error, and log it", async () => {
    const bench = new ControlBench({
      faultyState: () => ({ figures: { read: () => Promise.reject(new TypeError("secret of the house")) } }),
    });
    const { status, json } = await bench.get("/v1/targets/staging/figures");

    expect([status, json.detail]).toEqual([
      500,
      "internal error: see the event control-failed in the log of the host or function",
    ]);
    expect(bench.log.lines).toMatchObject([{ event: "control-failed", path: "/v1/targets/staging/figures" }]);
  });
});

function counts(numbers: Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  return new Map(Object.entries(numbers));
}
