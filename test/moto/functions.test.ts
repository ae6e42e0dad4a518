import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateQueueCommand, SQSClient } from "@aws-sdk/client-sqs";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from "vitest";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import type { Fate } from "../../relay/state/port.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { LambdaMapping } from "../support/lambda/lambda-mapping.ts";
import { LambdaProcess } from "../support/lambda/lambda-process.ts";
import { bundleFunctions } from "../support/lambda/lambda-rig.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const url = inject("motoUrl");
const account = `${url}/123456789012`;
const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-moto-"));

beforeAll(async () => {
  vi.stubEnv("RELAY_TEST_DYNAMODB_ENDPOINT", url);
  await bundleFunctions(bundles);
});

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("the functions on moto", () => {
  it("bring each request to its shadows once, account for all, and keep what was not delivered", async () => {
    const [all, even] = [await ShadowServer.start(breaksOff), await ShadowServer.start()];
    const { map, send, ledger, letters, isEmpty } = await deploy(
      `  all: { url: "${all.url.origin}", rate: 500/s, breaker: { failures: 1000 } }`,
      `  even: { url: "${even.url.origin}", rate: 200/s, when: { path: "[02468]$" } }`,
    );
    const mappings = [map("packs", "fanout"), map("packs-all", "replay", "all"), map("packs-even", "replay", "even")];
    const packs = Array.from({ length: 8 }, (_, i) => packMessage({ sequence: i + 1, requests: requests(20) }));
    const posts = packMessage({ sequence: 9, requests: requests(3, { method: "POST" }) });
    const garbage = { ...packs[0], pack: Buffer.from("garbage") };

    // A queue may deliver a pack twice.
    await send("packs", ...packs, packs[0], posts, garbage);
    const total = 8 * 20 + 3;
    await until(async () => {
      const [one, two] = [await ledger("all"), await ledger("even")];
      return one.settled === total && two.settled === total && isEmpty("packs", "packs-all", "packs-even");
    }, 100_000);

    // The shadow breaks off the request 1 of each pack: a GET is sent again, a POST is a dead letter.
    expect((await ledger("all")).fates).toEqual({ "answered.2xx": total - 1, deadLettered: 1 });
    expect((await ledger("even")).fates).toEqual({ "answered.2xx": 82, filtered: 81 });
    expect(new Set(all.received.map(({ headers }) => headers["x-mirror-id"])).size).toBe(total);
    expect(even.received).toHaveLength(82);
    expect(await letters("packs-all")).toEqual([expect.stringMatching(/POST is not retried/)]);
    expect(await letters("packs")).toEqual([expect.stringMatching(/SRPK/)]);
    expect(mappings.flatMap(({ failures }) => failures)).toEqual([]);
  });
});

const brokenOff = new Set<string>();

/** Breaks off the first try of request 1 of each pack. */
function breaksOff({ path, headers }: { readonly path: string; readonly headers: NodeJS.Dict<string | string[]> }) {
  const id = String(headers["x-mirror-id"]);
  if (path !== "/1" || brokenOff.has(id)) return { status: 200 };
  brokenOff.add(id);
  return "reset" as const;
}

/** Queues, a table and the configuration of targets on moto. */
async function deploy(...targets: readonly string[]) {
  const client = new SQSClient({ endpoint: url, region: "us-east-1" });
  for (const name of ["packs", "packs-all", "packs-even"]) {
    for (const QueueName of [name, `${name}-dlq`]) await client.send(new CreateQueueCommand({ QueueName }));
  }
  client.destroy();
  const { endpoint, region, table, stop } = await startDynamoDb();
  const state = DynamoDbState.open({ endpoint, region, table, callTimeoutMs: 30_000 });
  const file = configFile(`queue: ${account}/packs`, `state: dynamodb:${region}/${table}`, "targets:", ...targets);
  onTestFinished(async () => {
    await state.close();
    await stop();
  });
  const start = async (kind: string, target = "") => {
    const lambda = await LambdaProcess.start(join(bundles, `${kind}.mjs`), {
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: region,
      AWS_ENDPOINT_URL_DYNAMODB: endpoint,
      RELAY_CONFIG: file,
      ...(target && { RELAY_TARGET: target }),
    });
    onTestFinished(() => lambda.kill());
    return lambda;
  };
  return {
    map(queue: string, kind: string, target?: string): LambdaMapping {
      const mapping = new LambdaMapping({
        queueUrl: `${account}/${queue}`,
        start: () => start(kind, target),
        batch: 10,
        timeoutMs: 60_000,
        visibilityMs: 360_000,
      });
      onTestFinished(() => mapping.stop());
      return mapping;
    },
    send: (queue: string, ...messages: readonly OutgoingMessage[]) =>
      withQueue(queue, async (opened) => {
        expect(await opened.send(messages)).toEqual(messages.map(() => undefined));
      }),
    /** The reasons of a queue's dead letters. */
    letters: (queue: string) =>
      withQueue(`${queue}-dlq`, async (opened) =>
        (await opened.browse(10)).map(({ body }) => String(JSON.parse(body).reason)),
      ),
    async isEmpty(...queues: readonly string[]): Promise<boolean> {
      const depths = await Promise.all(queues.map((queue) => withQueue(queue, (opened) => opened.depth())));
      return depths.every(({ messages }) => messages === 0);
    },
    async ledger(target: string) {
      const fates = Object.entries((await state.ledger.totals()).targets.get(target)?.fates ?? {});
      const some = fates.filter(([, count]) => count > 0) as readonly [Fate, number][];
      return { fates: Object.fromEntries(some), settled: some.reduce((sum, [, count]) => sum + count, 0) };
    },
  };
}

async function withQueue<T>(name: string, work: (queue: SqsQueue) => Promise<T>): Promise<T> {
  const queue = new SqsQueue({ url: `${account}/${name}` });
  try {
    return await work(queue);
  } finally {
    queue.close();
  }
}
