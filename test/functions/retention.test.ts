import { afterEach, describe, expect, it, vi } from "vitest";
import { redrive } from "../../relay/control/dead-letters.ts";
import { jobKey } from "../../relay/job/job.ts";
import { shareMessage } from "../../relay/queue/message.ts";
import type { Delivery } from "../../relay/queue/port.ts";
import { ReplayBench } from "../support/benches/replay-bench.ts";
import { captureStartMs, job } from "../support/data/jobs.ts";
import { pack, packMessage, requests } from "../support/data/packs.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
// As in SQS: the queue counts nothing, and starts again with each put-back.
const sqs = { retention: { ms: 7 * dayMs, counted: false, nowMs: () => Date.now() } };

afterEach(() => {
  vi.useRealTimers();
});

describe("requests to a target that is held for days", () => {
  it("expire seven days after they first entered its queue, however often they were put back, and are counted", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow);
    await bench.send(packMessage({ requests: requests(3) }));
    const sinceMs = bench.nowMs;
    const keptDays = await putBackUntilGone(bench);

    expect(keptDays).toBeGreaterThan(6.9);
    expect(keptDays).toBeLessThanOrEqual(7.5);
    expect(await bench.fates()).toEqual({ expired: 3 });
    expect(bench.log.lines.filter(({ event }) => event === "overdue")).toMatchObject([
      { target: "staging", requests: 3 },
    ]);
    expect(new Set(seen.map(({ body }) => JSON.parse(body).since))).toEqual(new Set([undefined, sinceMs]));
    expect(shadow.received).toEqual([]);
    expect(bench.queue.expired().requests).toBe(0);
  });

  it("are sent if the target is resumed before", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow);
    await bench.send(packMessage({ requests: requests(3) }));
    await putBackUntilGone(bench, 6.5);
    await bench.pause(null);
    await pass(bench, hourMs);
    await bench.invoke(await bench.receive());

    expect(await bench.fates()).toEqual({ "answered.2xx": 3 });
  });

  it("keep their first time when they are split for a retry", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/1" ? "reset" : { status: 200 }));
    const bench = await heldBench(shadow);
    await bench.send(packMessage({ requests: requests(3) }));
    const sinceMs = bench.nowMs;
    await bench.pause(null);
    await pass(bench, 2 * dayMs);
    await bench.invoke(await bench.receive());
    await bench.pause();
    const keptDays = await putBackUntilGone(bench);

    expect(new Set(seen.map(({ body }) => JSON.parse(body).since))).toEqual(new Set([sinceMs]));
    expect(keptDays).toBeLessThanOrEqual(5.5);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2, expired: 1 });
  });

  it("begin anew when they are redriven: a person has put them back", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const bench = await heldBench(shadow, { attempts: 1 });
    await bench.send(packMessage({ requests: requests(1) }));
    await putBackUntilGone(bench, 5);
    await bench.pause(null);
    await pass(bench, hourMs);
    await bench.invoke(await bench.receive());
    await pass(bench, 3 * dayMs);
    await bench.pause();
    const { queue, state } = bench;
    const [letter] = await queue.deadLetters.browse(10);
    const limits = { startedAtMs: bench.nowMs, maxMessages: 10, maxMs: 5_000, waitMs: 0 };
    await redrive({ queue, deadLetters: queue.deadLetters, target: "staging", ledger: state.ledger, ...limits });
    const keptDays = await putBackUntilGone(bench);

    expect(JSON.parse(letter.body)).not.toHaveProperty("since");
    expect(keptDays).toBeGreaterThan(6.9);
    expect(await bench.fates()).toEqual({ expired: 1 });
  });

  it("expire under their job if a paused job holds them", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow);
    await bench.pause(null);
    const paused = job({ status: "paused", anchor: { atMs: Date.now(), offsetMs: 0 } });
    await bench.state.jobs.write(paused, 0);
    const whole = pack({ agent: jobKey(paused.id), requests: requests(2, { capturedAtMs: captureStartMs }) });
    const mark = { job: { id: paused.id, baseMs: -captureStartMs } };
    await bench.send(shareMessage({ ...whole, ...mark }, whole.requests, { attempt: 0 }));
    await putBackUntilGone(bench);

    expect((await bench.state.ledger.totals()).targets.get(jobKey(paused.id))?.fates).toMatchObject({ expired: 2 });
    expect(shadow.received).toEqual([]);
  });

  it("never expire if the queue does not say when it was sent", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow);
    await bench.send(packMessage({ requests: requests(1) }));
    const [delivery] = await bench.receive();
    await bench.invoke([{ ...delivery, sentAtMs: 0 }]);
    const [returned] = await bench.waiting();

    expect(JSON.parse(returned.body)).not.toHaveProperty("since");
    expect(await bench.fates()).toEqual({});
  });
});

describe("requests in an embedded queue, which removes and counts old messages itself", () => {
  const embedded = { retention: { ms: 4 * dayMs, counted: true, nowMs: () => Date.now() } };

  it("expire four days after they first entered it if they were put back, and count once", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow, {}, embedded);
    await bench.send(packMessage({ requests: requests(2) }));
    const keptDays = await putBackUntilGone(bench);

    expect(keptDays).toBeLessThanOrEqual(4.5);
    expect([await bench.fates(), bench.queue.expired().requests]).toEqual([{ expired: 2 }, 0]);
  });

  it("are not counted a second time if the queue removed their message while a worker had it", async () => {
    const shadow = await ShadowServer.start();
    const bench = await heldBench(shadow, {}, embedded);
    await bench.send(packMessage({ requests: requests(2) }));
    const deliveries = await bench.receive();
    await pass(bench, 5 * dayMs);
    const counted = bench.queue.expired().requests;
    await bench.invoke(deliveries);
    await putBackUntilGone(bench);

    expect([counted, await bench.fates(), bench.queue.expired().requests]).toEqual([2, {}, 2]);
  });
});

let seen: Delivery[] = [];

/** A paused target; time passes only when the test says so. */
async function heldBench(
  shadow: ShadowServer,
  changes: ConstructorParameters<typeof ReplayBench>[0] = {},
  deps: ConstructorParameters<typeof ReplayBench>[1] = sqs,
): Promise<ReplayBench> {
  seen = [];
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  const bench = new ReplayBench({ url: shadow.url, ...changes }, deps);
  await bench.pause();
  return bench;
}

async function pass(bench: ReplayBench, ms: number): Promise<void> {
  bench.nowMs += ms;
  vi.setSystemTime(bench.nowMs);
}

/** Delivers the pack every twelve hours until it is gone, or for so many days; resolves with the days that passed. */
async function putBackUntilGone(bench: ReplayBench, days = 30): Promise<number> {
  const startMs = bench.nowMs;
  while (bench.nowMs - startMs < days * dayMs && bench.queue.depth().messages > 0) {
    await pass(bench, 12 * hourMs);
    const deliveries = await bench.receive();
    seen.push(...deliveries);
    await bench.invoke(deliveries);
  }
  return (bench.nowMs - startMs) / dayMs;
}
