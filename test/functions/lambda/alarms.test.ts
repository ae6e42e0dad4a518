import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AlarmLayout } from "../../../infra/alarm.ts";
import { toAlarms } from "../../../infra/alarm-layout.ts";
import { toLayout } from "../../../infra/layout.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { changeSettings, openBreaker } from "../../../relay/state/target-control.ts";
import { type CallFate, DynamoDbProxy, refusal } from "../../support/aws/dynamodb-proxy.ts";
import { until } from "../../support/clocks/until.ts";
import { rings } from "../../support/data/alarm-state.ts";
import { packMessage, requests } from "../../support/data/packs.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";
import type { LambdaProcess } from "../../support/lambda/lambda-process.ts";
import { bundleFunctions, LambdaRig } from "../../support/lambda/lambda-rig.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

// The real functions, in processes of their own, in front of a table that refuses them; the alarms of a deployment are then
// evaluated on what they wrote.

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-lambda-alarms-"));
const periods = 3;

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

// What DynamoDB answers.
const refusals: readonly (readonly [string, CallFate])[] = [
  ["its KMS key is disabled", refusal(400, "KMSAccessDeniedException")],
  ["a policy denies the calls", refusal(400, "AccessDeniedException")],
  ["it is throttled", refusal(400, "ThrottlingException")],
  ["it was deleted", refusal(400, "ResourceNotFoundException")],
];

describe("the alarms of a replay function", () => {
  it.each(refusals)(
    "ring if the table refuses it: %s",
    async (_, fate) => {
      const { alarms, runs, proxy, shadow } = await startReplay();
      proxy.decide = () => fate;

      const lines = await runs(periods);

      expect(ringing(alarms, lines)).toEqual(["NoProgress-a", "StateDown-replay-a"]);
      expect(shadow.received).toEqual([]);
    },
    90_000,
  );

  it("ring if only the key of the rates is throttled", async () => {
    const { alarms, runs, proxy } = await startReplay();
    proxy.decide = ({ action, body }) =>
      action === "UpdateItem" && body.Key.pk.S === "target#a"
        ? refusal(400, "ProvisionedThroughputExceededException")
        : "goes through";

    expect(ringing(alarms, await runs(periods))).toEqual(["NoProgress-a", "StateDown-replay-a"]);
  }, 90_000);

  it("ring if only the figures are refused, which the shadow's requests do not need", async () => {
    const { alarms, runs, proxy, shadow } = await startReplay();
    proxy.decide = ({ body }) =>
      body.Key?.pk.S === "minute#a" ? refusal(400, "AccessDeniedException") : "goes through";

    expect(ringing(alarms, await runs(periods))).toEqual(["StateDown-replay-a"]);
    expect(shadow.received).not.toEqual([]);
  }, 90_000);

  it("ring if there are no credentials for the shadow", async () => {
    const { alarms, runs, shadow } = await startReplay("token: { url: 'http://127.0.0.1:9/token' }");

    expect(ringing(alarms, await runs(periods))).toEqual(["NoProgress-a"]);
    expect(shadow.received).toEqual([]);
  }, 90_000);

  it("do not ring while requests are answered", async () => {
    const { alarms, runs, shadow } = await startReplay();

    expect(ringing(alarms, await runs(periods))).toEqual([]);
    expect(shadow.received).toHaveLength(periods * 5);
  }, 90_000);

  it("do not ring for a table that failed for a moment", async () => {
    const { alarms, runs, proxy } = await startReplay();
    const before = await runs(1);
    proxy.decide = () => refusal(500, "InternalServerError");
    const during = await runs(1);
    proxy.heal();
    const after = await runs(1);

    const lines = [...before, ...during, ...after];
    expect(ringing(alarms, lines)).toEqual([]);
    // The failure was noticed.
    expect(
      ringing(
        alarms,
        Array.from({ length: periods }, () => during[0]),
      ),
    ).not.toEqual([]);
  }, 90_000);

  it("do not ring if packs go back because the target is paused", async () => {
    const { alarms, runs, rig, shadow } = await startReplay();
    await rig.state.controls.write("a", changeSettings({}, { paused: true }), 0);

    expect(ringing(alarms, await runs(periods))).toEqual([]);
    expect(shadow.received).toEqual([]);
  }, 90_000);

  it("do not ring if packs go back because the breaker is open or the target is outside its window", async () => {
    const hour = new Date().getUTCHours();
    const later = (hours: number) => `${String((hour + hours) % 24).padStart(2, "0")}:00`;
    const closed = await startReplay(`window: '${later(6)}-${later(7)} UTC'`);
    const open = await startReplay();
    // For the probe of the open breaker.
    open.shadow.behaviour = () => "reset";
    await open.rig.state.controls.write("a", openBreaker({}, Date.now(), 600_000, "it fails"), 0);

    expect(ringing(closed.alarms, await closed.runs(periods))).toEqual([]);
    expect(ringing(open.alarms, await open.runs(periods))).toEqual([]);
    expect(closed.shadow.received).toEqual([]);
  }, 90_000);
});

describe("the alarms of the fan-out", () => {
  it("ring if the table refuses it, and not if it works", async () => {
    const rig = await LambdaRig.start(bundles, { a: "url: http://127.0.0.1:9, rate: 1/s, sample: 50%" });
    const proxy = await DynamoDbProxy.start(rig.dynamo.endpoint);
    const lambda = await rig.open("fanout", { AWS_ENDPOINT_URL_DYNAMODB: proxy.endpoint });
    const alarms = alarmsOf("sample: 50%");

    const healthy = await run(rig, lambda, "packs", periods);
    proxy.decide = () => refusal(400, "KMSAccessDeniedException");
    const refused = await run(rig, lambda, "packs", periods);

    expect(ringing(alarms, healthy)).toEqual([]);
    expect(ringing(alarms, refused)).toEqual(["StateDown-fanout"]);
  }, 90_000);
});

type Lines = readonly unknown[];

/** A replay function of target `a` whose table is behind a proxy, and the alarms of such a deployment. */
async function startReplay(keys = "attempts: 9") {
  const shadow = await ShadowServer.start();
  const rig = await LambdaRig.start(bundles, {
    a: `url: ${shadow.url.origin}, rate: 100/s, sample: 99%, ${keys}`,
  });
  const proxy = await DynamoDbProxy.start(rig.dynamo.endpoint);
  const lambda = await rig.open("replay", { RELAY_TARGET: "a", AWS_ENDPOINT_URL_DYNAMODB: proxy.endpoint });
  const runs = (count: number) => run(rig, lambda, "packs-a", count);
  return { shadow, rig, proxy, runs, alarms: alarmsOf(`sample: 99%, ${keys}`) };
}

let sequence = 0;

/** Invokes the function with one pack after another; returns the metrics of each invocation, which stand for a period. */
async function run(rig: LambdaRig, lambda: LambdaProcess, queue: string, count: number): Promise<readonly Lines[]> {
  const lines: Lines[] = [];
  for (let i = 0; i < count; i++) {
    sequence++;
    await rig.send(queue, packMessage({ sequence, requests: requests(5) }));
    const before = lambda.metrics.length;
    await rig.deliver(lambda, queue, 1);
    // The log is flushed before the answer, but this process may read the answer first. A paused target has no line.
    await until(() => lambda.metrics.length > before, 1_000).catch(() => {});
    lines.push(lambda.metrics.slice(before));
  }
  return lines;
}

/** The alarms of a deployment with target `a`, of which only the names of the queue and the target matter here. */
function alarmsOf(keys: string): readonly AlarmLayout[] {
  const config = loadConfig(
    configFile(
      "queue: https://sqs.us-east-1.amazonaws.com/123456789012/packs",
      "state: dynamodb:packs",
      `targets: { a: { url: https://a.example, rate: 100/s, ${keys} } }`,
    ),
    {},
  );
  const layout = toLayout(config);
  return layout.stacks.flatMap((stack) => toAlarms(stack, layout, config));
}

/** The alarms about metrics of functions that ring after these periods, sorted. */
function ringing(alarms: readonly AlarmLayout[], lines: readonly Lines[]): readonly string[] {
  return alarms
    .filter(({ watches }) => "namespace" in watches && watches.namespace.startsWith("spoa-relay/"))
    .filter((alarm) => rings(alarm, lines))
    .map(({ id }) => id)
    .sort();
}
