import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { plotArrivals } from "../../relay/demo/arrival-plot.ts";
import type { Received } from "../../relay/demo/json-server.ts";
import type { Job } from "../../relay/job/job.ts";
import { dueAtMs } from "../../relay/job/job-clock.ts";
import { until } from "../support/clocks/until.ts";
import { burstyRequests } from "../support/data/bursty-requests.ts";
import { RecordedMinute } from "./recorded-minute.ts";

const count = Number(process.env.RELAY_TEST_DEFERRED_REQUESTS ?? 60_000);
const spanMs = count;
// Capture times and the start time of a job are whole milliseconds.
const roundingMs = 2;
const meanErrorMs = 50;
const pauseMs = 5_000;

let minute: RecordedMinute;
let sent: readonly string[];

beforeAll(async () => {
  // The example configuration mirrors paths with this prefix.
  const requests = burstyRequests(count, spanMs, 0).map((each) => ({ ...each, path: `/api/v1${each.path}` }));
  minute = await RecordedMinute.record(requests);
  sent = minute.rig.primary.received.map(toText).sort();
});

afterAll(() => minute?.stop());

describe(`${count.toLocaleString("en-US")} requests that were captured through HAProxy`, () => {
  it("arrive at their original speed", async () => {
    const job = await replayAll("--speed", "1x");

    const error = report("1x", 1_000, arrivalErrors(job));
    expect(error.earliestMs).toBeGreaterThanOrEqual(-roundingMs);
    expect(error.meanMs).toBeLessThanOrEqual(meanErrorMs);
  });

  it("arrive ten times as fast, as far as the machine can send them", async () => {
    const job = await replayAll("--speed", "10x");

    const error = report("10x", 200, arrivalErrors(job));
    expect(error.earliestMs).toBeGreaterThanOrEqual(-roundingMs);
  });

  it("arrive at a fixed rate without drift", async () => {
    const job = await replayAll("--rate", "100/s");

    const errorsMs = minute.received.map(({ atMs }, i) => toWallMs(atMs) - (dueAtMs(job, i * 10) ?? 0));
    const error = report("100/s", count / 4, errorsMs);
    expect(error.earliestMs).toBeGreaterThanOrEqual(-roundingMs);
    expect(error.meanMs).toBeLessThanOrEqual(meanErrorMs);
    const tail = errorsMs.slice(-Math.ceil(count / 20));
    expect(tail.toSorted((a, b) => a - b)[tail.length >> 1]).toBeLessThanOrEqual(meanErrorMs);
  });

  it("arrive once in each of two loops despite a pause and a killed host, and repeats have the same id", async () => {
    const id = await minute.replay("--speed", "2x", "--loop", "2");
    await arrived(count / 2);
    await killHost();
    await minute.rig.startHost();
    await arrived(count);
    await minute.command("jobs", "pause", id);
    await sleep(pauseMs);
    const paused = minute.received.length;
    await sleep(pauseMs);
    const stillPaused = minute.received.length;
    await minute.command("jobs", "resume", id);
    const { fates, total } = await minute.untilDone(id, 300_000);

    expect(stillPaused).toBe(paused);
    expect({ total, answered: fates["answered.2xx"] }).toEqual({ total: 2 * count, answered: 2 * count });
    const byId = Map.groupBy(minute.received, ({ headers }) => headers["x-mirror-id"]);
    const groups = [...byId.values()];
    console.log(`\nlooped: ${minute.received.length - 2 * count} of ${2 * count} arrived again after the kill`);
    expect(groups.every((same) => same.length >= 2 && new Set(same.map(toText)).size === 1)).toBe(true);
    expect(isEqual(groups.map(([first]) => toText(first)).sort(), sent)).toBe(true);
  });
});

/** Runs a job to its end, and checks that each request arrived once with all its bytes. */
async function replayAll(...flags: readonly string[]): Promise<Job> {
  const id = await minute.replay(...flags);
  const { job, total, fates } = await minute.untilDone(id, 850_000);
  expect({ total, answered: fates["answered.2xx"] }).toEqual({ total: count, answered: count });
  expect(isEqual(minute.received.map(toText).sort(), sent)).toBe(true);
  return job;
}

function arrivalErrors(job: Job): readonly number[] {
  return minute.received.map(({ headers, atMs }) => {
    const capturedAtMs = Date.parse(String(headers["x-mirror-captured-at"]));
    return toWallMs(atMs) - (dueAtMs(job, capturedAtMs - job.fromMs) ?? 0);
  });
}

function report(name: string, sliceMs: number, errorsMs: readonly number[]) {
  const sorted = errorsMs.toSorted((a, b) => a - b);
  const meanMs = sorted.reduce((sum, each) => sum + Math.abs(each), 0) / sorted.length;
  const [earliestMs, p99Ms, mostMs] = [0, Math.floor(sorted.length * 0.99), sorted.length - 1].map((i) => sorted[i]);
  const texts = [meanMs, p99Ms, mostMs, earliestMs].map((ms) => `${ms.toFixed(1)} ms`);
  console.log(
    `\n${name}: difference from the due time: mean ${texts[0]}, p99 ${texts[1]}, latest ${texts[2]}, earliest ${texts[3]}`,
  );
  console.log(
    plotArrivals(
      minute.received.map(({ atMs }) => atMs),
      sliceMs,
    ),
  );
  return { meanMs, earliestMs };
}

async function killHost(): Promise<void> {
  const [host] = minute.rig.hosts;
  host.kill("SIGKILL");
  await once(host, "exit");
}

async function arrived(requests: number): Promise<void> {
  await until(() => minute.received.length >= requests, 300_000);
}

function toWallMs(atMs: number): number {
  return performance.timeOrigin + atMs;
}

// Headers that each sender, or HAProxy, writes itself.
const notCompared = /^(?:x-mirror-|x-forwarded-|connection$|content-length$|transfer-encoding$|x-unique-id$|via$)/;

function toText({ method, path, rawHeaders, body }: Received): string {
  const lines = [`${method} ${path}`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    if (!notCompared.test(name)) lines.push(`${name}: ${rawHeaders[i + 1]}`);
  }
  return [...lines, body.toString("base64")].join("\n");
}

/** Like `toEqual`, which needs minutes to print the differences of so many requests. */
function isEqual(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((each, i) => each === others[i]);
}
