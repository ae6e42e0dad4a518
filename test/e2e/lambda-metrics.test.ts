import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openBreaker } from "../../relay/state/target-control.ts";
import { until } from "../support/clocks/until.ts";
import { toCloudWatch } from "../support/data/metric-lines.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { bundleFunctions, LambdaRig } from "../support/lambda/lambda-rig.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-lambda-metrics-"));

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("functions in Lambda", () => {
  it("send CloudWatch the fates of requests, in one line an invocation", async () => {
    const shadow = await ShadowServer.start();
    const rig = await LambdaRig.start(
      bundles,
      { a: `url: ${shadow.url.origin}, rate: unlimited`, gone: "url: http://127.0.0.1:9, rate: 1/s, attempts: 1" },
      { all: "store: s3://kept" },
    );
    await rig.state.controls.write("gone", openBreaker({}, Date.now(), 60_000, "it fails"), 0);
    const [fanOut, replay, schedule] = await Promise.all([
      rig.open("fanout"),
      rig.open("replay", { RELAY_TARGET: "a" }),
      rig.open("schedule"),
    ]);
    await rig.send("packs", ...[1, 2, 4].map((sequence) => packMessage({ sequence, requests: requests(10) })));

    await rig.deliver(fanOut, "packs", 3);
    await rig.deliver(replay, "packs-a", 3);
    await schedule.invoke({ source: "aws.scheduler" }, 60_000);
    const functions = [fanOut, replay, schedule];
    await until(() => functions.every(({ metrics }) => metrics.length > 0));

    const { "spoa-relay/packs AgeAtDelivery {Target=a}": ages, ...counts } = toCloudWatch(replay.metrics);
    expect(counts).toEqual({
      "spoa-relay/packs Answered2xx {Target=a}": 30,
      "spoa-relay/packs Progress {Target=a}": 1,
    });
    expect(ages).toHaveLength(20);
    expect(toCloudWatch(fanOut.metrics)).toEqual({ "spoa-relay/packs Packs": 3, "spoa-relay/packs Captured": 30 });
    expect(toCloudWatch(schedule.metrics)).toEqual({
      "spoa-relay/packs MissingPacks": 1,
      "spoa-relay/packs BreakerOpen {Target=gone}": 1,
    });
    expect(functions.map(({ metrics }) => metrics.length)).toEqual([1, 1, 1]);
  }, 90_000);
});
