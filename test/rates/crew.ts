import { once } from "node:events";
import { onTestFinished } from "vitest";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { OpenQueue } from "../../relay/queue/port.ts";
import { sendAll } from "../../relay/queue/send-all.ts";
import { openSqsQueue } from "../../relay/queue/sqs.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import type { Fate, State } from "../../relay/state/port.ts";
import type { AwsEmulator } from "../support/aws/aws-emulator.ts";
import { until } from "../support/clocks/until.ts";
import type { ArrivalReport } from "../support/data/arrival-recorder.ts";
import { packMessage } from "../support/data/packs.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { ChildScript } from "../support/processes/child-script.ts";
import type { ReplayWork } from "../support/processes/replay-worker.ts";
import { Gate } from "../support/servers/gate.ts";

export interface CrewOptions {
  readonly engine: "aws" | "embedded";
  readonly workers: number;
  readonly ratePerSecond: number;
  /** Requests in flight of each worker; 64 by default. */
  readonly concurrency?: number;
  /** How long the shadow takes to answer; 0 by default. */
  readonly latencyMs?: number;
  /** By how much the clock of the first worker is ahead. */
  readonly firstClockAheadUs?: number;
  /** Requests in a pack; 100 by default. */
  readonly requestsOfPack?: number;
}

export interface LogLine {
  readonly event: string;
  readonly reason?: string;
}

interface Engine {
  readonly engine: ReplayWork["engine"];
  readonly queue: OpenQueue;
  readonly gate: Gate | undefined;
}

/** Replay workers that share a target, each in a process of its own, like the shadow and the emulators. */
export class Crew {
  readonly workers: readonly ChildScript[];
  readonly queue: OpenQueue;
  readonly #gate: Gate | undefined;
  readonly #shadow: string;
  readonly #engine: ReplayWork["engine"];

  /** Starts all processes and enqueues `requests` requests with the paths `/0`, `/1`, …; the workers wait for `go`. */
  static async start(options: CrewOptions, requests: number): Promise<Crew> {
    const { workers, ratePerSecond, concurrency = 64, latencyMs = 0, firstClockAheadUs = 0 } = options;
    const recorder = await startScript("../data/arrival-recorder.ts", [String(latencyMs)]);
    const shadow = `http://127.0.0.1:${recorder.lines[0]}`;
    const { engine, queue, gate } = options.engine === "aws" ? await openAws() : openEmbedded();
    const works: ReplayWork[] = Array.from({ length: workers }, (_, i) => ({
      shadow,
      ratePerSecond,
      concurrency,
      clockAheadUs: i === 0 ? firstClockAheadUs : 0,
      engine,
    }));
    const crew = new Crew(await Promise.all(works.map(startWorker)), { engine, queue, gate }, shadow);
    await crew.#enqueue(requests, options.requestsOfPack ?? 100);
    return crew;
  }

  private constructor(workers: readonly ChildScript[], { engine, queue, gate }: Engine, shadow: string) {
    this.workers = workers;
    this.queue = queue;
    this.#gate = gate;
    this.#shadow = shadow;
    this.#engine = engine;
  }

  /** The proxy between the workers and DynamoDB. */
  get gate(): Gate {
    if (!this.#gate) throw new Error("the embedded engine has no DynamoDB");
    return this.#gate;
  }

  async go(): Promise<void> {
    await this.#ask("reset");
    for (const worker of this.workers) worker.start();
  }

  /** Resolves when `requests` requests have arrived at the shadow. */
  async arrived(requests: number, withinMs: number): Promise<void> {
    await until(async () => Number(await this.#ask("count")) >= requests, withinMs);
  }

  async report(): Promise<ArrivalReport> {
    return JSON.parse(await this.#ask("report")) as ArrivalReport;
  }

  /** The log lines of each worker so far. */
  get logs(): readonly (readonly LogLine[])[] {
    return this.workers.map(({ lines }) => lines.slice(1).map((line) => JSON.parse(line) as LogLine));
  }

  /** Stops the workers, which then record all fates, and reads the fates of the requests. */
  async settled(): Promise<Partial<Record<Fate, number>>> {
    for (const { process } of this.workers) process.kill("SIGTERM");
    await Promise.all(this.workers.map((worker) => worker.exited()));
    const state = openState(this.#engine);
    const { fates = {} } = (await state.ledger.totals()).targets.get("staging") ?? {};
    await state.close();
    return Object.fromEntries((Object.entries(fates) as [Fate, number][]).filter(([, count]) => count > 0));
  }

  async #enqueue(requests: number, requestsOfPack: number): Promise<void> {
    for (let first = 0, sequence = 1; first < requests; first += requestsOfPack, sequence++) {
      const numbers = Array.from({ length: Math.min(requestsOfPack, requests - first) }, (_, i) => first + i);
      const parts = numbers.map((number) => ({ id: "", method: "GET", path: `/${number}`, body: new Uint8Array() }));
      await sendAll(this.queue.queue, [packMessage({ sequence, requests: parts })]);
    }
  }

  async #ask(what: "count" | "reset" | "report"): Promise<string> {
    return (await fetch(`${this.#shadow}//${what}`)).text();
  }
}

function openState(engine: ReplayWork["engine"]): State {
  return engine.kind === "aws" ? DynamoDbState.open(engine) : EmbeddedState.open(engine.directory);
}

async function openAws(): Promise<Engine> {
  const script = await startScript("../aws/aws-emulator.ts", ["replayed"]);
  const { sqsPort, dynamoDbEndpoint, table, region } = JSON.parse(script.lines[0]) as AwsEmulator;
  const gate = new Gate(Number(new URL(dynamoDbEndpoint).port));
  await gate.open();
  const queueUrl = `http://127.0.0.1:${sqsPort}/000000000000/replayed`;
  const queue = openSqsQueue(queueUrl);
  onTestFinished(async () => {
    queue.close();
    await gate.shut();
  });
  const endpoint = `http://127.0.0.1:${gate.port}`;
  return { engine: { kind: "aws", queueUrl, endpoint, table, region }, queue, gate };
}

function openEmbedded(): Engine {
  const directory = temporaryDirectory();
  const queue = EmbeddedQueue.open({ directory, name: "replayed" });
  onTestFinished(() => queue.close());
  return { engine: { kind: "embedded", directory }, queue, gate: undefined };
}

function startWorker(work: ReplayWork): Promise<ChildScript> {
  return startScript("replay-worker.ts", [JSON.stringify(work)]);
}

async function startScript(name: string, args: readonly string[]): Promise<ChildScript> {
  const script = new ChildScript(`./${name}`, args);
  onTestFinished(async () => {
    const { process } = script;
    if (process.exitCode !== null || process.signalCode !== null) return;
    const exited = once(process, "exit");
    process.kill("SIGKILL");
    await exited;
  });
  await script.printed(1);
  if (script.lines.length === 0) throw new Error(`${name} has not started`);
  return script;
}
