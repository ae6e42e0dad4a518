import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeployedCloud } from "../support/aws/deployed-cloud.ts";
import { until } from "../support/clocks/until.ts";
import { packMessage } from "../support/data/packs.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { bundleFunctions } from "../support/lambda/lambda-rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

// Runs the synthesised templates on emulators: see `DeployedCloud`. Every call of agents and functions is made to the endpoint
// of its region, and is refused if the role in the template does not allow it.

const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-deployed-"));
const [home, away] = ["eu-central-1", "us-east-1"];
const account = "111122223333";
// The default event of EventBridge Scheduler.
const eachMinute = { source: "aws.scheduler", "detail-type": "Scheduled Event", detail: "{}" };
const paths = Array.from({ length: 40 }, (_, i) => `/${i}`);

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("a deployment to one region", () => {
  it("sends requests from an agent to the only target without a fan-out", async () => {
    const shadow = await ShadowServer.start();
    const cloud = await deploy(`  all: { url: "${shadow.url.origin}", rate: 1000/s }`);
    cloud.map();

    await mirror(cloud);

    expect(await settled(cloud)).toMatchObject({ all: paths.length });
    expect(shadow.paths.toSorted()).toEqual(paths.toSorted());
    expect(cloud.gateway.refusals).toEqual([]);
  });

  it("sends each target its share, and keeps a capture that a job replays", async () => {
    const [even, all] = [await ShadowServer.start(), await ShadowServer.start()];
    const cloud = await deploy(
      `  even: { url: "${even.url.origin}", rate: 500/s, when: { path: "[02468]$" } }`,
      `  all: { url: "${all.url.origin}", rate: unlimited }`,
      "captures:",
      "  orders: { store: s3://kept/shop, keep: 7d }",
    );
    cloud.map();

    await mirror(cloud);

    expect(await settled(cloud)).toMatchObject({ even: paths.length / 2, all: paths.length });
    const kept = await cloud.command("captures", "cat", "orders", "--format", "json");
    expect(kept.stdout.trim().split("\n")).toHaveLength(paths.length);
    const job = await cloud.command("replay", "orders", "--target", "all", "--rate", "100/s", "--detach");
    expect(job.code).toBe(0);
    const schedule = await cloud.open("packs-schedule");
    await schedule.invoke(eachMinute, cloud.timeoutMsOf("packs-schedule"));
    await all.arrived(2 * paths.length);
    expect(cloud.gateway.refusals).toEqual([]);
  });

  it("keeps undecodable packs and undelivered requests, and sends them again on a redrive", async () => {
    const shadow = await ShadowServer.start(() => "reset");
    const cloud = await deploy(
      `  one: { url: "${shadow.url.origin}", rate: 500/s, attempts: 2, breaker: { failures: 1000 } }`,
      `  two: { url: "http://127.0.0.1:9", rate: 500/s, sample: 0% }`,
    );
    const mappings = cloud.map();
    await cloud.put("packs", { ...packMessage(), pack: Buffer.from("garbage") });

    await mirror(cloud);

    await until(async () => (await cloud.command("dlq", "list", "ingress")).stdout.includes("SRPK"));
    await until(() => cloud.depth("packs-one-dlq") > 0 && cloud.depth("packs-one") === 0);
    shadow.behaviour = () => ({ status: 200 });
    const redriven = await cloud.command("dlq", "redrive", "one");
    expect(redriven).toMatchObject({ code: 0, stderr: "" });
    expect(await settled(cloud)).toMatchObject({ one: paths.length });
    expect(mappings.get("packs-replay-one")?.failures).toEqual([]);
    expect(cloud.gateway.refusals).toEqual([]);
  });
});

describe("a deployment to two regions", () => {
  it("sends packs to the queue of the other region, replays them there, and switches that replay off and on", async () => {
    const [near, far] = [await ShadowServer.start(), await ShadowServer.start()];
    const cloud = await deploy(
      `  near: { url: "${near.url.origin}", rate: 500/s }`,
      `  far: { url: "${far.url.origin}", rate: 500/s, region: ${away} }`,
    );
    const mappings = cloud.map();

    await mirror(cloud);

    expect(await settled(cloud)).toMatchObject({ near: paths.length, far: paths.length });
    expect(far.paths.toSorted()).toEqual(paths.toSorted());
    expect(mappings.get("packs-replay-far")).toMatchObject({ failures: [], mostReceives: 1 });
    await cloud.command("targets", "pause", "far");
    await cloud.command("targets", "resume", "far");
    expect(cloud.lambdaApi.turned).toEqual(["turn off far", "turn on far"]);
    const abroad = cloud.gateway.calls.filter(({ region }) => region === away);
    expect(new Set(abroad.map(({ principal, action }) => `${principal} ${action}`))).toEqual(
      new Set([
        "packs-fanout sqs:SendMessage",
        "packs-control sqs:GetQueueAttributes",
        "packs-control lambda:ListEventSourceMappings",
        "packs-control lambda:UpdateEventSourceMapping",
      ]),
    );
    expect(cloud.gateway.refusals).toEqual([]);
  });
});

describe("a deployment to two accounts", () => {
  it("sends packs to the queue of the other account, whose replay is allowed to use the table", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/7" ? "reset" : { status: 200 }));
    const cloud = await deployWith(`dynamodb:arn:aws:dynamodb:${home}:${account}:table/packs`, [
      `  tests: { url: "${shadow.url.origin}", rate: 500/s, attempts: 1, queue: "https://sqs.${home}.amazonaws.com/444455556666/packs-tests" }`,
    ]);
    cloud.map();

    await mirror(cloud);

    await until(() => cloud.depth("packs-tests-dlq") > 0);
    shadow.behaviour = () => ({ status: 200 });
    await cloud.command("dlq", "redrive", "tests");
    expect(await settled(cloud)).toEqual({ tests: paths.length });
    expect(cloud.layout.stacks.map((stack) => stack.account)).toEqual([account, "444455556666"]);
    expect(cloud.gateway.refusals).toEqual([]);
  });
});

describe("an agent", () => {
  it("is only allowed to send to the ingress queue", async () => {
    const cloud = await deploy("  one: { url: http://127.0.0.1:9, rate: 1/s, sample: 50% }");

    for (const queue of ["packs-dlq", "packs-one"]) expect(cloud.agentMay("sqs:SendMessage", queue)).toBe(false);
    for (const action of ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:PurgeQueue"]) {
      expect(cloud.agentMay(action, "packs")).toBe(false);
    }
    expect(cloud.agentMay("sqs:SendMessage", "packs")).toBe(true);
  });
});

/** Deploys a configuration with these lines below `targets:`. */
function deploy(...lines: readonly string[]): Promise<DeployedCloud> {
  return deployWith("dynamodb:packs", lines);
}

async function deployWith(state: string, lines: readonly string[]): Promise<DeployedCloud> {
  const directory = temporaryDirectory();
  const [admin] = await freePorts(1);
  const file = configFile(
    `queue: https://sqs.${home}.amazonaws.com/${account}/packs`,
    `state: ${state}`,
    `control: https://abcdefghij0123456789.lambda-url.${home}.on.aws`,
    "agent:",
    `  listen: unix:${join(directory, "spop.sock")}`,
    `  admin: 127.0.0.1:${admin}`,
    `  journal: { directory: ${directory} }`,
    "targets:",
    ...lines,
  );
  return DeployedCloud.start(file, bundles);
}

/** Sends a request for each of `paths` through an agent. */
async function mirror(cloud: DeployedCloud): Promise<void> {
  await cloud.startAgent();
  const { listen } = cloud.config.agent;
  const socket = createConnection({ path: listen.kind === "unix" ? listen.path : "" });
  const frames = paths.map((path, i) => notify({ streamId: i + 1, messages: [get(path)] }));
  socket.end(Buffer.concat([hello(), ...frames]));
  socket.resume();
  await once(socket, "close");
}

interface Ledger {
  readonly addsUp: boolean;
  readonly agent: { readonly enqueued: number };
  readonly host: { readonly targets: Record<string, { enqueued: number; fates: Record<string, number> }> };
}

/** Waits until `stats` accounts for every request; returns the number of answered requests by target. */
async function settled(cloud: DeployedCloud): Promise<Record<string, number>> {
  let answered: Record<string, number> = {};
  await until(async () => {
    const { stdout, stderr } = await cloud.command("stats", "--json");
    expect(stderr).toBe("");
    const { addsUp, agent, host } = JSON.parse(stdout) as Ledger;
    answered = Object.fromEntries(
      Object.entries(host.targets).map(([name, { fates }]) => [name, fates["answered.2xx"] ?? 0]),
    );
    const decided = Object.values(host.targets).every(({ enqueued, fates }) => {
      const sum = Object.values(fates).reduce((all, count) => all + count, 0);
      return enqueued === paths.length && sum === enqueued && (fates.deadLettered ?? 0) === 0;
    });
    return addsUp && decided && agent.enqueued === paths.length;
  });
  return answered;
}
