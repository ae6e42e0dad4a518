import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { AgentStats } from "../../relay/agent-stats.ts";
import { S3Archive } from "../../relay/archive/s3.ts";
import { addsUp, toEquations } from "../../relay/balance.ts";
import type { HostStats } from "../../relay/host-stats.ts";
import { readCapture } from "../support/captures.ts";
import { agentPrincipal, DeployedCloud } from "../support/deployed-cloud.ts";
import { freePorts } from "../support/free-ports.ts";
import { configFile } from "../support/lambda-config.ts";
import { bundleFunctions } from "../support/lambda-rig.ts";
import { ShadowServer } from "../support/shadow-server.ts";
import { get, hello, notify } from "../support/spop-frames.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";
import { until } from "../support/until.ts";
import { urlEvent } from "../support/url-event.ts";

// What is synthesised, made of emulators: see `DeployedCloud`. Every call of agents and functions is made to the endpoint of
// its region, and refused where the role in the template does not allow it.

const main = resolve(import.meta.dirname, "../../relay/main.ts");
const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-deployed-"));
const [home, away] = ["eu-central-1", "us-east-1"];
// What EventBridge's scheduler sends that was told nothing else.
const eachMinute = { source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" };
const paths = Array.from({ length: 40 }, (_, i) => `/${i}`);

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("what is deployed to one region", () => {
  it("takes requests from an agent to a shadow that takes everything, without a fan-out", async () => {
    const shadow = await ShadowServer.start();
    const cloud = await deploy(`  all: { url: "${shadow.url.origin}", rate: 1000/s }`);
    cloud.map();

    const agent = await mirror(cloud, paths);

    await shadow.arrived(paths.length);
    expect(shadow.paths.toSorted()).toEqual(paths.toSorted());
    await settled(cloud, agent);
  });

  it("takes each target its share, and a capture all, which the schedule merges", async () => {
    const [even, all] = [await ShadowServer.start(), await ShadowServer.start()];
    const cloud = await deploy(
      `  even: { url: "${even.url.origin}", rate: 500/s, when: { path: "[02468]$" } }`,
      `  all: { url: "${all.url.origin}", rate: unlimited }`,
      "captures:",
      "  orders: { store: s3://kept/shop, keep: 7d }",
    );
    cloud.map();

    const agent = await mirror(cloud, paths);

    await all.arrived(paths.length);
    await even.arrived(paths.length / 2);
    await settled(cloud, agent);
    const schedule = await cloud.open("packs-schedule");
    await schedule.invoke(eachMinute, cloud.timeoutMsOf("packs-schedule"));
    const archive = S3Archive.open({
      bucket: "kept",
      prefix: "shop",
      region: home,
      endpoint: `http://127.0.0.1:${cloud.emulator(home).port}`,
    });
    const kept = await readCapture(archive, "orders");
    expect(kept).toHaveLength(paths.length);
    expect(cloud.gateway.refusals).toEqual([]);
  });
});

describe("what is deployed to two regions", () => {
  it("takes packs to the queue of the other region, and replays them there", async () => {
    const [near, far] = [await ShadowServer.start(), await ShadowServer.start()];
    const cloud = await deploy(
      `  near: { url: "${near.url.origin}", rate: 500/s }`,
      `  far: { url: "${far.url.origin}", rate: 500/s, region: ${away} }`,
    );
    const mappings = cloud.map();

    const agent = await mirror(cloud, paths);

    await near.arrived(paths.length);
    await far.arrived(paths.length);
    await settled(cloud, agent);
    const abroad = cloud.gateway.calls.filter(({ region }) => region === away);
    expect(new Set(abroad.map(({ principal, action }) => `${principal} ${action}`))).toEqual(
      new Set(["packs-fanout sqs:SendMessage", "packs-control sqs:GetQueueAttributes"]),
    );
    expect(mappings.get("packs-replay-far")?.failures).toEqual([]);
    expect(mappings.get("packs-replay-far")?.invocations).toBeGreaterThan(0);
    expect(cloud.depth(away, "packs-far-dlq")).toBe(0);
  });
});

interface Answer {
  readonly statusCode: number;
  readonly body: string;
}

/** One stack a region; `lines` go below `targets:`. */
function deploy(...lines: readonly string[]): Promise<DeployedCloud> {
  const queue = `queue: https://sqs.${home}.amazonaws.com/111122223333/packs`;
  return DeployedCloud.start(configFile(queue, "state: dynamodb:packs", "targets:", ...lines), bundles);
}

/** Has an agent send requests; returns what it says of them. */
async function mirror(cloud: DeployedCloud, requested: readonly string[]): Promise<AgentStats> {
  const directory = temporaryDirectory();
  const socketFile = join(directory, "spop.sock");
  const [admin] = await freePorts(1);
  const { ingress } = cloud.config;
  const file = configFile(
    `agent: { listen: "unix:${socketFile}", admin: "127.0.0.1:${admin}", journal: { directory: "${directory}" }, drain: 10ms }`,
    `queue: ${ingress.kind === "sqs" && ingress.url}`,
    'targets: { any: { url: "http://127.0.0.1:9", rate: 1/s } }',
  );
  const env = { PATH: process.env.PATH, ...cloud.gateway.env(agentPrincipal) };
  const agent = spawn(process.execPath, [main, "agent", "--config", file], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void agent.kill("SIGKILL"));
  agent.stdout.resume();
  await until(async () => (await fetch(`http://127.0.0.1:${admin}/healthz`).catch(() => undefined))?.ok === true);
  const socket = createConnection({ path: socketFile });
  socket.write(
    Buffer.concat([hello(), ...requested.map((path, i) => notify({ streamId: i + 1, messages: [get(path)] }))]),
  );
  const readStats = async () => (await (await fetch(`http://127.0.0.1:${admin}/stats`)).json()) as AgentStats;
  await until(async () => (await readStats()).enqueued === requested.length);
  const stats = await readStats();
  socket.destroy();
  await stop(agent);
  return stats;
}

async function stop(agent: ChildProcess): Promise<void> {
  agent.kill("SIGTERM");
  expect((await once(agent, "exit"))[0]).toBe(0);
}

/** Waits until the control API and the agent together account for every request; nothing may have been refused until then. */
async function settled(cloud: DeployedCloud, agent: AgentStats): Promise<void> {
  const control = await cloud.open("packs-control");
  await until(async () => {
    const answer = (await control.invoke(urlEvent("GET", "/v1/ledger"), 30_000)) as Answer;
    expect(answer.statusCode).toBe(200);
    const host = JSON.parse(answer.body) as HostStats;
    const whole = Object.values(host.targets).every(({ enqueued }) => enqueued === agent.enqueued);
    const waiting = Object.values(host.targets).some(({ messages }) => messages !== 0);
    return whole && !waiting && addsUp(toEquations(agent, host));
  });
  expect(cloud.gateway.refusals).toEqual([]);
}
