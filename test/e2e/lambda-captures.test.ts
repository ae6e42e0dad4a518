import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { S3Archive } from "../../relay/archive/s3.ts";
import { namesOf } from "../contract/archive-contract.ts";
import { readCapture } from "../support/captures.ts";
import { bundleFunctions, LambdaRig } from "../support/lambda-rig.ts";
import { packMessage, requests } from "../support/packs.ts";

const done = { batchItemFailures: [] };
let bundles: string;

beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), "spoa-relay-functions-"));
  await bundleFunctions(bundles);
}, 60_000);

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("captures in Lambda", () => {
  it("are written by the fan-out beside the only target, and merged by the schedule", async () => {
    const rig = await LambdaRig.start(bundles, { only: target }, { all: "store: s3://kept/of-us" });
    const archive = openArchive(rig);
    const [fanOut, schedule] = await Promise.all([rig.open("fanout"), rig.open("schedule", { RELAY_MAPPINGS: "{}" })]);
    const sent = packs(3);
    // As a queue does that delivers twice.
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

  it("come again by themselves while the bucket is away", async () => {
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
});

const target = "url: http://127.0.0.1:9, rate: 1/s";

/** Captured five minutes ago, so that their minute is over. */
function packs(count: number) {
  const capturedAtMs = Date.now() - 300_000;
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
