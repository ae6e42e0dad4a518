import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startFauxqs } from "fauxqs";
import { beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { readTokenFile } from "../../relay/control/token-file.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { OpenQueue } from "../../relay/queue/port.ts";
import { openSqsQueue } from "../../relay/queue/sqs.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { until } from "../support/clocks/until.ts";
import { packMessage, requests } from "../support/data/packs.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { spoaRelay } from "../support/processes/command-line.ts";
import { HostChild } from "../support/processes/host-child.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

/** Where a host keeps its queues and its state, as lines of its configuration. */
interface Stores {
  readonly config: string;
  readonly ingress: OpenQueue;
  readonly deadLetters: OpenQueue["deadLetters"];
}

const engines: readonly (readonly [string, (directory: string) => Promise<Stores>])[] = [
  ["the embedded engine", embeddedStores],
  ["SQS and DynamoDB", awsStores],
];

beforeAll(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  vi.stubEnv("AWS_REGION", "us-east-1");
});

describe.each(engines)("redrives on %s", { timeout: 600_000 }, (_, openStores) => {
  it("lose nothing under kill -9, and the ledger knows when somebody deletes a dead letter", async () => {
    const shadow = await ShadowServer.start(() => (random() < 0.5 ? { status: 200 } : "reset"));
    const stage = await Stage.start(shadow, openStores);
    const seed = Date.now() % 2 ** 31;
    const random = seededRandom(seed);
    const sent: string[] = [];

    for (let round = 0; round < 8; round++) {
      sent.push(...(await stage.send(10, round)));
      await sleep(random() * 300);
      // Its answer is lost with the host.
      const redrive = stage.redrive().catch(() => undefined);
      await sleep(random() * 100);
      await stage.restart();
      await redrive;
    }
    shadow.behaviour = () => ({ status: 200 });
    await until(async () => {
      await stage.redrive();
      const { staging } = (await stage.stats()).targets;
      return staging.messages === 0 && staging.deadMessages === 0 && staging.enqueued === sent.length;
    }, 200_000);

    const answered = new Set(shadow.paths);
    expect(sent.filter((path) => !answered.has(path))).toEqual([]);
    const { fates, enqueued } = (await stage.stats()).targets.staging;
    expect([fates["answered.2xx"], fates.deadLettered]).toEqual([enqueued, 0]);
    expect(await stage.ledger()).toMatchObject({ code: 0 });

    shadow.behaviour = () => "reset";
    await stage.send(3, 100);
    await until(async () => (await stage.stats()).targets.staging.fates.deadLettered === 3);
    expect(await stage.ledger()).toMatchObject({ code: 0 });
    await stage.deleteOneLetter();
    const { code, stdout } = await stage.ledger();
    expect(code).toBe(1);
    expect(stdout).toMatch(/✗ 1 unaccounted for; the dead-letter queue lacks 1 of 3 (requests|messages)/);
  });
});

it("stats finds no difference while requests arrive, die and are redriven", { timeout: 400_000 }, async () => {
  const random = seededRandom(7);
  const shadow = await ShadowServer.start(() => (random() < 0.5 ? { status: 200 } : "reset"));
  const stage = await Stage.start(shadow, embeddedStores);
  const end = new AbortController();
  const traffic = (async () => {
    for (let round = 0; !end.signal.aborted; round++) {
      await stage.send(20, round);
      await sleep(20);
      await stage.redrive();
    }
  })().catch((error: Error) => error);

  const codes: number[] = [];
  for (let i = 0; i < 4; i++) codes.push((await stage.ledger()).code);
  end.abort();
  const failure = await traffic;

  expect([codes, failure]).toEqual([[0, 0, 0, 0], undefined]);
  expect(shadow.paths.length).toBeGreaterThan(100);
});

/** A host in a process of its own, which is killed again and again. */
class Stage {
  readonly #file: string;
  readonly #admin: string;
  readonly #stores: Stores;
  #host: HostChild | undefined;

  static async start(shadow: ShadowServer, openStores: (directory: string) => Promise<Stores>): Promise<Stage> {
    const directory = temporaryDirectory();
    const [port] = await freePorts(1);
    const stage = new Stage(join(directory, "spoa-relay.yaml"), `127.0.0.1:${port}`, await openStores(directory));
    writeFileSync(
      stage.#file,
      `host: { admin: "${stage.#admin}", visibility: 2s }
${stage.#stores.config}
targets:
  staging: { url: "${shadow.url}", rate: unlimited, attempts: 1, breaker: { failures: 1000000 } }
`,
    );
    onTestFinished(() => stage.#kill());
    stage.#host = await HostChild.start(stage.#file);
    return stage;
  }

  private constructor(file: string, admin: string, stores: Stores) {
    this.#file = file;
    this.#admin = admin;
    this.#stores = stores;
  }

  /** Sends packs of one request each; resolves with their paths. */
  async send(count: number, round: number): Promise<readonly string[]> {
    const paths = Array.from({ length: count }, (_, i) => `/${round}/${i}`);
    await this.#stores.ingress.queue.send(
      paths.map((path, i) =>
        packMessage({ sequence: round * 1_000 + i, requests: requests(1, { path, method: "POST" }) }),
      ),
    );
    return paths;
  }

  async redrive(): Promise<void> {
    const url = `http://${this.#admin}/v1/queues/staging/dead-letters/redrive`;
    // The host creates the file beside its data.
    const token = readTokenFile(join(dirname(this.#file), "data", "control-token"));
    const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
    await (await fetch(url, { method: "POST", headers, body: "{}" })).text();
  }

  async stats(): Promise<HostStats> {
    return (await (await fetch(`http://${this.#admin}/v1/ledger`)).json()) as HostStats;
  }

  ledger() {
    return spoaRelay("stats", "--config", this.#file);
  }

  async restart(): Promise<void> {
    await this.#kill();
    this.#host = await HostChild.start(this.#file);
  }

  async deleteOneLetter(): Promise<void> {
    const { deadLetters } = this.#stores;
    const { signal } = new AbortController();
    const [letter] = await deadLetters.receive({ max: 1, waitMs: 1_000, visibilityMs: 30_000, signal });
    await deadLetters.delete([letter.receipt]);
  }

  async #kill(): Promise<void> {
    this.#host?.kill();
    await this.#host?.ended();
  }
}

async function embeddedStores(directory: string): Promise<Stores> {
  const [ingress, own] = ["ingress", "target-staging"].map((name) =>
    EmbeddedQueue.open({ directory: join(directory, "data"), name }),
  );
  onTestFinished(() => {
    ingress.close();
    own.close();
  });
  return { config: "queue: embedded:./data", ingress, deadLetters: own.deadLetters };
}

async function awsStores(): Promise<Stores> {
  const sqs = await startFauxqs({ port: 0, logger: false });
  const table = await startDynamoDb();
  sqs.createQueue("ingress");
  sqs.createQueue("ingress-dlq");
  vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", table.endpoint);
  const url = `http://127.0.0.1:${sqs.port}/000000000000/ingress`;
  const ingress = openSqsQueue(url);
  onTestFinished(async () => {
    ingress.close();
    await sqs.stop();
    await table.stop();
  });
  return { config: `queue: ${url}\nstate: dynamodb:${table.table}`, ingress, deadLetters: ingress.deadLetters };
}
