import { startFauxqs } from "fauxqs";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Poller } from "../../../functions/host/poller.ts";
import { createReplay } from "../../../functions/replay.ts";
import { Feeder } from "../../../functions/schedule/feeder.ts";
import { readProgress } from "../../../relay/job/job-progress.ts";
import { startJob } from "../../../relay/job/job-request.ts";
import { hasJobMark } from "../../../relay/queue/message.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import { startStates } from "../../support/aws/dynamodb-states.ts";
import { until } from "../../support/clocks/until.ts";
import { captureOf, everyMs } from "../../support/data/jobs.ts";
import { laneOf } from "../../support/data/lanes.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { target } from "../../support/data/targets.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("a replay job with its state in DynamoDB and its queue in SQS", () => {
  it("is fed before its packs are due, sent when they are, and done", { timeout: 60_000 }, async () => {
    const emulator = await startFauxqs({ port: 0, logger: false });
    onTestFinished(() => emulator.stop());
    const url = `http://127.0.0.1:${emulator.port}/000000000000`;
    for (const name of ["staging", "staging-dlq"]) emulator.createQueue(name);
    const queue = new SqsQueue({ url: `${url}/staging` });
    const deadLetters = new SqsQueue({ url: `${url}/staging-dlq` });
    const state = (await startStates()).open();
    const timesMs = everyMs(300, 100);
    const arrivals: { readonly path: string; readonly atMs: number }[] = [];
    const shadow = await ShadowServer.start(({ path }) => {
      arrivals.push({ path, atMs: Date.now() });
      return { status: 200 };
    });
    const lane = laneOf(target({ url: shadow.url }), state);
    const log = new LogLines();
    const app = createReplay({ lane, queue, deadLetters, ledger: state.ledger, jobs: state.jobs, log: log.log });
    const captures = new Map([["peak", await captureOf(timesMs)]]);
    const feeder = new Feeder({
      jobs: state.jobs,
      ledger: state.ledger,
      targets: [lane.live],
      queueOf: () => queue,
      archives: captures,
      lookAheadMs: 5_000,
      leadMs: 2_000,
      leaseMs: 6_000,
      maxWaiting: 10_000,
      log: log.log,
    });
    const poller = new Poller({
      name: "staging",
      queue,
      app,
      batch: 1,
      inFlight: 2,
      waits: hasJobMark,
      visibilityMs: 30_000,
      log: log.log,
    });
    onTestFinished(async () => {
      await Promise.all([feeder.stop(), poller.stop()]);
      queue.close();
      deadLetters.close();
    });
    await feeder.start();
    const pace = { kind: "speed", factor: 10 } as const;
    const place = { targets: [lane.live.config], captures, jobs: state.jobs };
    const { id } = await startJob(place, { capture: "peak", target: "staging", pace }, Date.now());
    await until(async () => (await state.jobs.read(id))?.job.status === "done");
    const { job, fates } = await readProgress(state, id);

    expect(fates["answered.2xx"]).toBe(300);
    expect(new Set(arrivals.map(({ path }) => path)).size).toBe(300);
    const startMs = job.anchor?.atMs ?? Number.NaN;
    const lateness = arrivals
      .map(({ path, atMs }) => atMs - (startMs + timesMs[Number(path.slice(1))] / 10))
      .sort((a, b) => a - b);
    expect(lateness[0]).toBeGreaterThanOrEqual(0);
    // The median: a short stall of the machine delays many of the requests, which all fall within 3 s.
    expect(lateness[arrivals.length / 2]).toBeLessThan(1_500);
    expect(log.events).toEqual(["job-done"]);
  });
});
