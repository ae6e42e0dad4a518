import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "vitest";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";
import { FailingSqs, type QueueFailure } from "../support/aws/failing-sqs.ts";
import { until } from "../support/clocks/until.ts";
import { AckClient } from "../support/servers/ack-client.ts";
import { freePorts } from "../support/servers/free-ports.ts";

const main = resolve(import.meta.dirname, "../../relay/main.ts");
const packRequests = 5;
// So many are mirrored while the failure is looked at. Where those that close a pack waited for the queue, the pauses
// between its tries would let them through in more than a minute; it takes three seconds where none waits.
const requests = 100;

interface Case {
  readonly failure: QueueFailure;
  readonly code: string;
  readonly reason: RegExp;
  /** The queue takes some packs meanwhile, which starts the pauses anew. */
  readonly takesSome?: true;
}

const cases: readonly Case[] = [
  { failure: "refuses connections", code: "UNAVAILABLE", reason: /does not answer.*ECONNREFUSED/ },
  { failure: "never answers", code: "UNAVAILABLE", reason: /does not answer.*ETIMEDOUT/ },
  { failure: "answers 500", code: "UNAVAILABLE", reason: /could not do it.*HTTP 500/ },
  { failure: "throttles", code: "UNAVAILABLE", reason: /throttles/ },
  { failure: "denies access", code: "DENIED", reason: /must not sqs:SendMessage on http.*packs/ },
  { failure: "finds the credentials expired", code: "DENIED", reason: /credentials have expired/ },
  {
    failure: "fails every other entry inside a 200",
    code: "UNAVAILABLE",
    reason: /could not do it.*InternalError/,
    takesSome: true,
  },
];

// Together, since one of them waits for 10 s: so long a call to the queue may take.
describe.concurrent("a queue that", () => {
  it.for(cases)(
    "$failure keeps no ACK waiting, is told once, and gets everything once it is healed",
    { timeout: 120_000 },
    async ({ failure, code, reason, takesSome }, { onTestFinished, expect }) => {
      const queue = await FailingSqs.start(failure);
      onTestFinished(() => queue.stop());
      const agent = await AgentProcess.start(queue.url);
      onTestFinished(() => agent.stop());
      const client = await AckClient.connect(agent.socketPath);
      onTestFinished(() => client.close());

      const traffic = new AbortController();
      const startedAtMs = performance.now();
      const mirrored = mirrorUntil(client, traffic.signal);
      await until(async () => (await agent.queueErrors(code)) > 0);
      const ackedBefore = client.latenciesMs.length;
      await until(() => client.latenciesMs.length >= ackedBefore + requests);
      const [errors, readiness] = [await agent.queueErrors(code), await agent.get("/readyz")];
      const elapsedMs = performance.now() - startedAtMs;
      const metrics = await agent.get("/metrics");
      traffic.abort();
      await mirrored;

      const latenciesMs = client.latenciesMs.toSorted((a, b) => a - b);
      // Eight processes share the machine's cores, and most answers take a few milliseconds: on the slowest machine a quarter
      // of them, where none waits for the queue.
      expect(latenciesMs[latenciesMs.length >> 2]).toBeLessThan(100);
      expect(errors).toBeLessThanOrEqual(takesSome ? 4 + elapsedMs / 50 : triesMost(elapsedMs));
      expect(readiness).toMatch(new RegExp(`^the queue does not accept packs: .*${reason.source}`));
      expect(metrics).toContain("spoa_relay_agent_queue_up 0\n");
      expect(agent.events("queue-down")).toMatchObject([
        { level: "error", code, reason: expect.stringMatching(reason) },
      ]);

      await queue.heal();
      await until(async () => (await agent.get("/readyz")) === "ready\n");
      const sent = client.latenciesMs.length;
      await until(async () => (await agent.stats()).pending === 0);
      const { seen, enqueued, dropped, packs } = await agent.stats();

      expect({ seen, enqueued, dropped }).toEqual({ seen: sent, enqueued: sent, dropped: {} });
      expect(new Set(queue.stored.map(({ pack }) => pack)).size).toBe(packs);
      const numbers = queue.stored.map(({ seq }) => seq).sort((a, b) => a - b);
      expect(numbers).toEqual(Array.from({ length: packs }, (_, i) => i + 1));
      expect(queue.stored.reduce((sum, { count }) => sum + count, 0)).toBe(sent);
      await until(() => agent.events("queue-up").length > 0);
      expect(agent.events("queue-up")).toHaveLength(1);
      expect(agent.events("queue-down")).toHaveLength(1);
    },
  );
});

/** Tries within so long a time, with pauses that double from 100 ms up to 5 s. Up to four senders notice at first; two to spare. */
function triesMost(elapsedMs: number): number {
  let tries = 6;
  for (let pauseMs = 100, atMs = 100; atMs <= elapsedMs; atMs += pauseMs) {
    tries++;
    pauseMs = Math.min(2 * pauseMs, 5_000);
  }
  return tries;
}

async function mirrorUntil(client: AckClient, signal: AbortSignal): Promise<void> {
  for (let i = 0; !signal.aborted; i++) {
    await client.mirror(`/failing/${i}`);
    await sleep(20);
  }
}

/** An agent in a process of its own that sends to a queue in SQS. */
class AgentProcess {
  readonly directory = mkdtempSync(join(tmpdir(), "spoa-relay-queue-failures-"));
  readonly socketPath = join(this.directory, "spop.sock");
  readonly #admin: string;
  readonly #child: ChildProcess;
  readonly #lines: Record<string, unknown>[] = [];

  static async start(queueUrl: string): Promise<AgentProcess> {
    const [admin] = await freePorts(1);
    const agent = new AgentProcess(queueUrl, admin);
    await until(async () => (await agent.get("/readyz").catch(() => "")) === "ready\n");
    return agent;
  }

  private constructor(queueUrl: string, admin: number) {
    this.#admin = `http://127.0.0.1:${admin}`;
    const config = join(this.directory, "spoa-relay.yaml");
    writeFileSync(
      config,
      `agent:
  listen: unix:${this.socketPath}
  admin: 127.0.0.1:${admin}
  pack: { requests: ${packRequests}, linger: 100ms }
queue: ${queueUrl}
targets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }
`,
    );
    this.#child = spawn(process.execPath, [main, "agent", "--config", config], {
      env: { ...process.env, AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    createInterface(this.#child.stdout as Readable).on("line", (line) => this.#lines.push(JSON.parse(line)));
  }

  /** Over a connection of its own: the agent may close one that has been idle at the very moment that it is used again. */
  async get(path: string): Promise<string> {
    return (await fetch(this.#admin + path, { headers: { connection: "close" } })).text();
  }

  async stats(): Promise<AgentStats> {
    return JSON.parse(await this.get("/stats"));
  }

  async queueErrors(code: string): Promise<number> {
    const line = new RegExp(`^spoa_relay_agent_queue_errors_total\\{code="${code}"\\} (\\d+)$`, "m");
    return Number(line.exec(await this.get("/metrics"))?.[1]);
  }

  /** Lines of the log with this event. */
  events(name: string): readonly unknown[] {
    return this.#lines.filter(({ event }) => event === name);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL");
      await once(this.#child, "exit");
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
