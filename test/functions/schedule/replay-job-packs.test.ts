import { describe, expect, it } from "vitest";
import { redrive } from "../../../relay/control/dead-letters.ts";
import { jobKey } from "../../../relay/job/job.ts";
import { shareMessage } from "../../../relay/queue/message.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { ReplayBench } from "../../support/benches/replay-bench.ts";
import { captureStartMs, job } from "../../support/data/jobs.ts";
import { pack, packIn, packMessage, requests } from "../../support/data/packs.ts";
import { type Answer, ShadowServer } from "../../support/servers/shadow-server.ts";

const id = job().id;
const key = jobKey(id);

describe("replay: a pack of a job", () => {
  it("is recorded under its job, and does not block the packs of agents while it waits", async () => {
    const arrivedAtMs: number[] = [];
    const shadow = await ShadowServer.start(() => {
      arrivedAtMs.push(Date.now());
      return { status: 200 };
    });
    const bench = new ReplayBench({ url: shadow.url, concurrency: 1 });
    const live = packMessage({ agent: "edge~1", sequence: 9, requests: requests(1, { path: "/live" }) });
    await bench.send(jobMessage(2), live);
    const deliveries = await bench.receive();
    // Long enough for the agent's pack to be sent first on a slow machine.
    const dueAtMs = await begin(bench, 2_500);
    await bench.invoke(deliveries);

    expect(shadow.paths).toEqual(["/live", "/0", "/1"]);
    expect(arrivedAtMs[1]).toBeGreaterThanOrEqual(dueAtMs);
    expect(await bench.fates()).toEqual({ "answered.2xx": 1 });
    expect(await fatesOf(bench)).toEqual({ "answered.2xx": 2 });
  });

  it("skips the requests that already have a fate", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await begin(bench);
    await bench.state.ledger.settle(key, pack(ofJob(3)).id, new Map([[1, "answered.2xx"]]));
    await bench.send(jobMessage(3), jobMessage(3));
    for (const delivery of await bench.receive()) await bench.invoke([delivery]);

    expect([...shadow.paths].sort()).toEqual(["/0", "/2"]);
  });

  it("keeps its job's mark in each retried share and in its dead letters", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const bench = new ReplayBench({ url: shadow.url, attempts: 2 });
    await begin(bench);
    await bench.send(jobMessage(2));
    await bench.invoke(await bench.receive());
    const [again] = await bench.waiting();
    await bench.invoke([again]);
    const [letter] = await bench.queue.deadLetters.browse(10);

    for (const { body } of [again, letter]) expect(JSON.parse(body).job).toEqual({ id, base: -captureStartMs });
    expect(await fatesOf(bench)).toEqual({ deadLettered: 2 });
    expect(await bench.fates()).toEqual({});
  });

  it("is sent without a due time when its dead letters are redriven, even if its job has ended", async () => {
    let answer: Answer = "reset";
    const shadow = await ShadowServer.start(() => answer);
    const bench = new ReplayBench({ url: shadow.url, attempts: 1 });
    await begin(bench);
    await bench.send(jobMessage(2));
    await bench.invoke(await bench.receive());
    const found = await bench.state.jobs.read(id);
    await bench.state.jobs.write(job({ status: "cancelled", endedAtMs: Date.now() }), found?.version ?? 0);
    answer = { status: 200 };
    const { queue } = bench;
    const limits = { startedAtMs: bench.nowMs, maxMessages: 10, maxMs: 5_000, waitMs: 0 };
    await redrive({ queue, deadLetters: queue.deadLetters, target: "staging", ledger: bench.state.ledger, ...limits });
    const [again] = await bench.receive();
    await bench.invoke([again]);

    expect(JSON.parse(again.body).job).toEqual({ id });
    expect(await fatesOf(bench)).toEqual({ "answered.2xx": 2 });
  });

  it("is cancelled with its job", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.state.jobs.write(job({ status: "cancelled", endedAtMs: Date.now() }), 0);
    await bench.send(jobMessage(5));
    await bench.invoke(await bench.receive());

    expect(shadow.received).toEqual([]);
    expect(await fatesOf(bench)).toEqual({ cancelled: 5 });
    expect(bench.queue.depth().messages).toBe(0);
  });

  it("is sent back with its mark while its job is paused, if the invocation is not patient", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await bench.state.jobs.write(job({ status: "paused", pausedAtMs: Date.now() }), 0);
    await bench.send(jobMessage(5));
    await bench.invoke(await bench.receive());
    bench.nowMs += 9_000;
    const early = await bench.receive();
    const [back] = await bench.waiting();

    expect(shadow.received).toEqual([]);
    expect(early).toEqual([]);
    expect(JSON.parse(back.body)).toMatchObject({ count: 5, job: { id, base: -captureStartMs } });
    expect(packIn(back).attempt).toBe(0);
  });

  it("is sent back until shortly before it is due, if that is far away", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url });
    await begin(bench, 600_000);
    bench.nowMs = Date.now();
    await bench.send(jobMessage(1));
    await bench.invoke(await bench.receive(), { patient: true });
    bench.nowMs += 590_000;
    const early = await bench.receive();
    bench.nowMs += 9_000;

    expect(early).toEqual([]);
    expect((await bench.receive()).length).toBe(1);
  });

  it("expires by its lateness, not by its time of capture", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url, maxAgeMs: 60_000 });
    await begin(bench, -30_000);
    await bench.send(jobMessage(1));
    await bench.invoke(await bench.receive());
    const late = new ReplayBench({ url: shadow.url, maxAgeMs: 60_000 });
    await begin(late, -90_000);
    await late.send(jobMessage(1));
    await late.invoke(await late.receive());

    expect(await fatesOf(bench)).toEqual({ "answered.2xx": 1 });
    expect(await fatesOf(late)).toEqual({ expired: 1 });
  });

  it("keeps the order of each key while it waits", async () => {
    const shadow = await ShadowServer.start();
    const bench = new ReplayBench({ url: shadow.url, orderBy: { by: "header", name: "x-tag" } });
    await begin(bench, 200);
    await bench.send(jobMessage(4));
    await bench.invoke(await bench.receive());

    expect(shadow.paths).toEqual(["/0", "/1", "/2", "/3"]);
  });
});

/** `count` requests captured in the first millisecond of the capture. */
function ofJob(count: number) {
  return { agent: key, sequence: 1, requests: requests(count, { capturedAtMs: captureStartMs }) };
}

function jobMessage(count: number): OutgoingMessage {
  const whole = { ...pack(ofJob(count)), job: { id, baseMs: -captureStartMs } };
  return shareMessage(whole, whole.requests, { attempt: 0 });
}

/** Starts the job's clock `inMs` from now; resolves with that time. */
async function begin(bench: ReplayBench, inMs = 0): Promise<number> {
  const atMs = Date.now() + inMs;
  await bench.state.jobs.write(job({ anchor: { atMs, offsetMs: 0 } }), 0);
  return atMs;
}

async function fatesOf(bench: ReplayBench) {
  const counts: [string, number][] = Object.entries((await bench.state.ledger.totals()).targets.get(key)?.fates ?? {});
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}
