import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { S3Archive } from "../../relay/archive/s3.ts";
import { readProgress } from "../../relay/job/job-progress.ts";
import { namesOf } from "../contract/archive-contract.ts";
import { until } from "../support/clocks/until.ts";
import { readCapture } from "../support/data/captures.ts";
import { toCloudWatch } from "../support/data/metric-lines.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { LambdaMapping } from "../support/lambda/lambda-mapping.ts";
import { bundleFunctions, LambdaRig } from "../support/lambda/lambda-rig.ts";
import { spoaRelay } from "../support/processes/command-line.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const done = { batchItemFailures: [] };
// Arrival times are rounded to whole milliseconds.
const roundingMs = 1;
let bundles: string;

beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), "spoa-relay-functions-"));
  await bundleFunctions(bundles);
}, 60_000);

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("captures in Lambda", () => {
  it("are written by the fan-out even if there is only one target, and merged by the schedule", async () => {
    const rig = await LambdaRig.start(bundles, { only: target }, { all: "store: s3://kept/of-us" });
    const archive = openArchive(rig);
    const [fanOut, schedule] = await Promise.all([rig.open("fanout"), rig.open("schedule", { RELAY_MAPPINGS: "{}" })]);
    const sent = packs(3);
    // Like a queue that delivers every message twice.
    await rig.send("packs", ...sent, ...sent);

    expect(await rig.deliver(fanOut, "packs", 3)).toEqual(done);
    expect(await rig.deliver(fanOut, "packs", 3)).toEqual(done);
    const written = await namesOf(archive);
    await schedule.invoke({ source: "aws.events" }, 60_000);

    expect(rig.inspect("packs-only").ready).toBe(6);
    expect(await rig.ledger("capture/all")).toEqual({ enqueued: 30, captured: 30 });
    expect(written.length).toBeGreaterThan(0);
    expect(await namesOf(archive)).toHaveLength(1);
    expect(await readCapture(archive, "all")).toHaveLength(30);
    expect(rig.isEmpty("packs", "packs-dlq")).toBe(true);
  }, 90_000);

  it("are retried separately from the targets while the bucket is away", async () => {
    const rig = await LambdaRig.start(bundles, { only: target }, { all: "store: s3://elsewhere" });
    const fanOut = await rig.open("fanout");
    await rig.send("packs", ...packs(1));

    expect(await rig.deliver(fanOut, "packs", 1)).toEqual(done);

    expect(rig.inspect("packs-only").ready).toBe(1);
    expect(rig.inspect("packs")).toEqual({ ready: 0, delayed: 1, inFlight: 0 });
    expect(rig.delayed("packs")).toMatchObject([{ count: 10, uncaptured: { captures: ["all"], tries: 1 } }]);
    expect(await rig.ledger("only")).toEqual({ enqueued: 10 });
    expect(await rig.ledger("capture/all")).toEqual({ enqueued: 10 });
  }, 90_000);

  it("are replayed by a job to a target whose queue and replay are in another region", async () => {
    const arrivedAtMs: number[] = [];
    const shadow = await ShadowServer.start(() => {
      arrivedAtMs.push(Date.now());
      return { status: 200 };
    });
    const elsewhere = await startFauxqs({ port: 0, logger: false });
    onTestFinished(() => elsewhere.stop());
    for (const name of ["far", "far-dlq"]) elsewhere.createQueue(name);
    const farUrl = `http://127.0.0.1:${elsewhere.port}/000000000000/far`;
    const rig = await LambdaRig.start(
      bundles,
      { far: `url: ${shadow.url.origin}, rate: unlimited, sample: 0%, region: eu-west-1, queue: "${farUrl}"` },
      { all: "store: s3://kept/of-us" },
    );
    const [fanOut, schedule] = await Promise.all([rig.open("fanout"), rig.open("schedule", { RELAY_MAPPINGS: "{}" })]);
    await rig.send("packs", ...packs(3));
    await rig.deliver(fanOut, "packs", 3);
    const region = { AWS_REGION: "eu-west-1", AWS_ENDPOINT_URL_S3: "http://127.0.0.1:9" };
    const replay = new LambdaMapping({
      queueUrl: farUrl,
      start: () => rig.open("replay", { RELAY_TARGET: "far", ...region }),
      batch: 10,
      timeoutMs: 60_000,
      visibilityMs: 90_000,
    });
    onTestFinished(() => replay.stop());
    vi.stubEnv("AWS_REGION", rig.dynamo.region);
    vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", rig.dynamo.endpoint);
    vi.stubEnv("AWS_ENDPOINT_URL_S3", rig.s3Endpoint);
    const flags = ["--target", "far", "--rate", "50/s", "--detach", "--config", rig.configFile];
    const started = await spoaRelay("replay", "all", ...flags);
    const id = started.stdout.trim();
    await until(async () => {
      await schedule.invoke({ source: "aws.events" }, 60_000);
      const progress = await readProgress(rig.state, id);
      return progress.job.status === "done";
    }, 60_000);
    const { job, fates } = await readProgress(rig.state, id);

    expect(started).toMatchObject({ code: 0 });
    expect(fates["answered.2xx"]).toBe(30);
    expect(toCloudWatch(schedule.metrics)).toEqual({ "spoa-relay/packs JobRequests": 30 });
    expect(new Set(shadow.received.map(({ headers }) => headers["x-mirror-id"])).size).toBe(30);
    expect(shadow.received).toHaveLength(30);
    const earlyMs = arrivedAtMs.map((atMs, i) => (job.anchor?.atMs ?? Number.NaN) + i * 20 - atMs);
    expect(Math.max(...earlyMs)).toBeLessThanOrEqual(roundingMs);
    expect(await rig.ledger("far")).toMatchObject({ enqueued: 30, sampledOut: 30 });
  }, 120_000);
});

const target = "url: http://127.0.0.1:9, rate: 1/s";

/** Packs captured five minutes ago, all within the same minute, which is over. */
function packs(count: number) {
  const capturedAtMs = Math.floor(Date.now() / 60_000) * 60_000 - 300_000;
  return Array.from({ length: count }, (_, i) =>
    packMessage({ sequence: i + 1, requests: requests(10, { capturedAtMs: capturedAtMs + i }) }),
  );
}

function openArchive(rig: LambdaRig): S3Archive {
  vi.stubEnv("AWS_REGION", "us-east-1");
  const archive = S3Archive.open({ bucket: "kept", prefix: "of-us", endpoint: rig.s3Endpoint });
  onTestFinished(() => archive.close());
  return archive;
}
