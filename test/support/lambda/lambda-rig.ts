import { join } from "node:path";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { onTestFinished, vi } from "vitest";
import type { Delivery, OutgoingMessage } from "../../../relay/queue/port.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import { DynamoDbState } from "../../../relay/state/dynamodb/state.ts";
import type { Fate, LedgerTotals } from "../../../relay/state/port.ts";
import { type DynamoDbEmulator, startDynamoDb } from "../aws/dynamodb.ts";
import { run } from "../processes/command-line.ts";
import { configFile } from "./lambda-config.ts";
import { LambdaMapping, type MappingOptions, toLambdaEvent } from "./lambda-mapping.ts";
import { LambdaProcess } from "./lambda-process.ts";

export type FunctionName = "fanout" | "replay" | "schedule" | "control";

const root = new URL("../../..", import.meta.url).pathname;

/** Bundles the functions as they are deployed. */
export async function bundleFunctions(directory: string): Promise<void> {
  const command = ["npm", "--prefix", root, "run", "--silent", "bundle:functions", "--", `--outdir=${directory}`];
  const { code, stderr } = await run("sh", "-c", 'cd "$0" && exec "$@"', root, ...command);
  if (code !== 0) throw new Error(stderr);
}

/** Queues in SQS, a state in DynamoDB and the bundles of the functions, for one test: all over HTTP. */
export class LambdaRig {
  readonly dynamo: DynamoDbEmulator;
  readonly state: DynamoDbState;
  readonly #emulator: FauxqsServer;
  readonly #bundles: string;
  readonly configFile: string;

  /**
   * @param targets each target's keys in YAML flow style; a single target without a filter reads `packs` itself
   * @param captures the same for captures, which can use the bucket `kept`
   */
  static async start(
    bundles: string,
    targets: Readonly<Record<string, string>>,
    captures: Readonly<Record<string, string>> = {},
  ): Promise<LambdaRig> {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
    const emulator = await startFauxqs({ port: 0, logger: false });
    const dynamo = await startDynamoDb();
    for (const name of ["packs", ...Object.keys(targets).map((target) => `packs-${target}`)]) {
      emulator.createQueue(name);
      emulator.createQueue(`${name}-dlq`);
    }
    const config = configFile(
      `queue: http://127.0.0.1:${emulator.port}/000000000000/packs`,
      `state: dynamodb:${dynamo.region}/${dynamo.table}`,
      "targets:",
      ...Object.entries(targets).map(([name, text]) => `  ${name}: { ${text} }`),
      ...(Object.keys(captures).length > 0 ? ["captures:"] : []),
      ...Object.entries(captures).map(([name, text]) => `  ${name}: { ${text} }`),
    );
    emulator.createBucket("kept");
    return new LambdaRig({ emulator, dynamo, bundles, config });
  }

  private constructor(parts: { emulator: FauxqsServer; dynamo: DynamoDbEmulator; bundles: string; config: string }) {
    this.#emulator = parts.emulator;
    this.dynamo = parts.dynamo;
    this.#bundles = parts.bundles;
    this.configFile = parts.config;
    const { table, region, endpoint } = parts.dynamo;
    this.state = DynamoDbState.open({ table, region, endpoint });
    onTestFinished(async () => {
      await this.state.close();
      await this.dynamo.stop();
      await this.#emulator.stop();
    });
  }

  /** The S3 endpoint. */
  get s3Endpoint(): string {
    return `http://127.0.0.1:${this.#emulator.port}`;
  }

  url(queue: string): string {
    return `http://127.0.0.1:${this.#emulator.port}/000000000000/${queue}`;
  }

  /** Starts a process of a function; it is killed at the end of the test. */
  async open(name: FunctionName, env: Readonly<Record<string, string>> = {}): Promise<LambdaProcess> {
    const lambda = await LambdaProcess.start(join(this.#bundles, `${name}.mjs`), {
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: this.dynamo.region,
      AWS_ENDPOINT_URL_DYNAMODB: this.dynamo.endpoint,
      AWS_ENDPOINT_URL_S3: this.s3Endpoint,
      RELAY_CONFIG: this.configFile,
      ...env,
    });
    onTestFinished(() => lambda.kill());
    return lambda;
  }

  /** Starts a mapping from a queue to a function; it is stopped at the end of the test. */
  map(queue: string, options: Omit<MappingOptions, "queueUrl">): LambdaMapping {
    const mapping = new LambdaMapping({ queueUrl: this.url(queue), ...options });
    onTestFinished(() => mapping.stop());
    return mapping;
  }

  async send(queue: string, ...messages: readonly OutgoingMessage[]): Promise<void> {
    const errors = await this.#with(queue, (opened) => opened.send(messages));
    for (const error of errors) if (error) throw error;
  }

  /** Receives `count` messages, which then stay hidden for a minute. */
  async receive(queue: string, count: number): Promise<readonly Delivery[]> {
    return this.#with(queue, async (opened) => {
      const deliveries: Delivery[] = [];
      const { signal } = new AbortController();
      while (deliveries.length < count) {
        const max = Math.min(10, count - deliveries.length);
        deliveries.push(...(await opened.receive({ max, waitMs: 1_000, visibilityMs: 60_000, signal })));
      }
      return deliveries;
    });
  }

  /** Receives `count` messages, invokes the process with them, and deletes them. */
  async deliver(lambda: LambdaProcess, queue: string, count: number, timeoutMs = 30_000): Promise<unknown> {
    const deliveries = await this.receive(queue, count);
    const answer = await lambda.invoke(toLambdaEvent(deliveries), timeoutMs);
    await this.delete(queue, deliveries);
    return answer;
  }

  async delete(queue: string, deliveries: readonly Delivery[]): Promise<void> {
    await this.#with(queue, (opened) => opened.delete(deliveries.map(({ receipt }) => receipt)));
  }

  /** The number of messages in a queue: ready, delayed and in flight. */
  inspect(queue: string): { readonly ready: number; readonly delayed: number; readonly inFlight: number } {
    const { ready = [], delayed = [], inflight = [] } = this.#emulator.inspectQueue(queue)?.messages ?? {};
    return { ready: ready.length, delayed: delayed.length, inFlight: inflight.length };
  }

  /** The summaries of the delayed packs in a queue. */
  delayed(queue: string): readonly { readonly count: number; readonly attempt?: number }[] {
    return (this.#emulator.inspectQueue(queue)?.messages.delayed ?? []).map(({ body }) => JSON.parse(body));
  }

  /** The summaries of the packs that nobody has received, delayed or not. */
  waiting(queue: string): readonly { readonly count: number }[] {
    const { ready = [] } = this.#emulator.inspectQueue(queue)?.messages ?? {};
    return [...this.delayed(queue), ...ready.map(({ body }) => JSON.parse(body))];
  }

  /** The summaries of a queue's dead letters. */
  async deadLetters(queue: string): Promise<readonly { readonly reason?: string; readonly count?: number }[]> {
    const letters = await this.#with(`${queue}-dlq`, (opened) => opened.browse(100));
    return letters.map(({ body }) => JSON.parse(body));
  }

  isEmpty(...queues: readonly string[]): boolean {
    return queues.every((queue) => Object.values(this.inspect(queue)).every((messages) => messages === 0));
  }

  /** The ledger's counts of a target, without fates that are 0. */
  async ledger(target: string): Promise<{ readonly enqueued: number } & Partial<Record<Fate, number>>> {
    const totals: LedgerTotals = await this.state.ledger.totals();
    const { enqueued = 0, fates } = totals.targets.get(target) ?? {};
    return { enqueued, ...Object.fromEntries(Object.entries(fates ?? {}).filter(([, count]) => count > 0)) };
  }

  async #with<T>(queue: string, work: (opened: SqsQueue) => Promise<T>): Promise<T> {
    const opened = new SqsQueue({ url: this.url(queue) });
    try {
      return await work(opened);
    } finally {
      opened.close();
    }
  }
}
