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
// The number of requests that are mirrored during the failure. This takes three seconds if no ACK waits for the queue. If the
// ACKs of requests that close a pack waited, the pauses between attempts would make it more than a minute.
const requests = 100;

interface Case {
  readonly failure: QueueFailure;
  readonly code: string;
  readonly reason: RegExp;
  /** The queue accepts some packs during the failure: each ends an outage, and resets the pauses. */
  readonly takesSome?: true;
}

const cases: readonly Case[] = [
  { failure: "refuses connections", code: "UNAVAILABLE", reason: /does not answer.*ECONNREFUSED/ },
  { failure: "never answers", code: "UNAVAILABLE", reason: /does not answer.*ETIMEDOUT/ },
  { failure: "answers 500", code: "UNAVAILABLE", reason: /sqs:SendMessage on http.*packs failed.*HTTP 500/ },
  { failure: "throttles", code: "UNAVAILABLE", reason: /throttles/ },
  { failure: "denies access", code: "DENIED", reason: /are not allowed to call sqs:SendMessage on http.*packs/ },
  { failure: "finds the credentials expired", code: "DENIED", reason: /credentials have expired/ },
  {
    failure: "fails every other entry inside a 200",
    code: "UNAVAILABLE",
    reason: /sqs:SendMessage on http.*packs failed.*InternalError/,
    takesSome: true,
  },
];

// Concurrent, since one of them waits for 10 s, the time limit of a call to the queue.
describe.concurrent("a queue that", () => {
  it.for(cases)(
    "$failure delays no ACK, does not fill the log, and receives everything once it works again",
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
      // Only the fastest quarter: eight processes share the cores, and on the slowest machine most ACKs take longer than a few
      // milliseconds even if none waits for the queue.
      expect(latenciesMs[latenciesMs.length >> 2]).toBeLessThan(100);
      expect(errors).toBeLessThanOrEqual(takesSome ? 4 + elapsedMs / 50 : triesMost(elapsedMs));
      expect(readiness).toMatch(new RegExp(`^the queue does not accept packs: .*${reason.source}`));
      expect(metrics).toContain("spoa_relay_agent_queue_up 0\n");
      const line = { level: "error", code, reason: expect.stringMatching(reason) };
      const down = agent.events("queue-down");
      expect(down).toMatchObject(down.map(() => line));

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
      const outages = () => agent.events("queue-down").length;
      await until(() => agent.events("queue-up").length === outages());
      expect(outages()).toBeGreaterThanOrEqual(1);
      expect(outages()).toBeLessThanOrEqual(takesSome ? 5 : 1);
    },
  );
});

/** The most attempts in a time: pauses double from 100 ms to 5 s. Four senders may fail at first; two more are a margin. */
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

  /** Uses a new connection each time: the agent may close an idle one just when it is used again. */
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

  /** The log lines with this event. */
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
