import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, it } from "vitest";
import type { AgentStats } from "../../relay/agent-stats.ts";
import { AckClient } from "../support/ack-client.ts";
import { FailingSqs, type QueueFailure } from "../support/failing-sqs.ts";
import { freePorts } from "../support/free-ports.ts";
import { until } from "../support/until.ts";

const main = resolve(import.meta.dirname, "../../relay/main.ts");
const packRequests = 5;
// How long the failure is looked at, from the first that is counted.
const lookMs = 3_000;

interface Case {
  readonly failure: QueueFailure;
  readonly code: string;
  readonly reason: RegExp;
  /** In `lookMs`: with a doubling pause from 100 ms it is tried six times; up to four senders notice at first. */
  readonly triesMost: number;
}

const cases: readonly Case[] = [
  { failure: "refuses connections", code: "UNAVAILABLE", reason: /does not answer.*ECONNREFUSED/, triesMost: 10 },
  { failure: "never answers", code: "UNAVAILABLE", reason: /does not answer.*ETIMEDOUT/, triesMost: 5 },
  { failure: "answers 500", code: "UNAVAILABLE", reason: /could not do it.*HTTP 500/, triesMost: 10 },
  { failure: "throttles", code: "UNAVAILABLE", reason: /throttles/, triesMost: 10 },
  { failure: "denies access", code: "DENIED", reason: /must not sqs:SendMessage on http.*packs/, triesMost: 10 },
  { failure: "finds the credentials expired", code: "DENIED", reason: /credentials have expired/, triesMost: 10 },
  // What is taken meanwhile starts the pauses anew.
  {
    failure: "fails every other entry inside a 200",
    code: "UNAVAILABLE",
    reason: /could not do it.*InternalError/,
    triesMost: 40,
  },
];

// Together, since one of them waits for 10 s: so long a call to the queue may take.
describe.concurrent("a queue that", () => {
  it.for(cases)(
    "$failure keeps no ACK waiting, is told once, and gets everything once it is healed",
    { timeout: 90_000 },
    async ({ failure, code, reason, triesMost }, { onTestFinished, expect }) => {
      const queue = await FailingSqs.start(failure);
      onTestFinished(() => queue.stop());
      const agent = await AgentProcess.start(queue.url);
      onTestFinished(() => agent.stop());
      const client = await AckClient.connect(agent.socketPath);
      onTestFinished(() => client.close());

      const traffic = new AbortController();
      const mirrored = mirrorUntil(client, traffic.signal);
      await until(async () => (await agent.queueErrors(code)) > 0);
      const [lookedFromMs, ackedBefore] = [performance.now(), client.latenciesMs.length];
      await sleep(lookMs);
      const ackedMeanwhile = client.latenciesMs.length - ackedBefore;
      const [errors, readiness] = [await agent.queueErrors(code), await agent.get("/readyz")];
      const metrics = await agent.get("/metrics");
      const looks = Math.ceil((performance.now() - lookedFromMs) / lookMs);
      traffic.abort();
      await mirrored;

      const latenciesMs = client.latenciesMs.toSorted((a, b) => a - b);
      // Eight processes share the machine's cores, and the median is a few milliseconds. Where every request that closes a
      // pack waited for the queue, one in five, the doubling pauses would let about 30 through while it is looked at; some
      // 120 come through where none waits.
      expect(latenciesMs[latenciesMs.length >> 1]).toBeLessThan(100);
      expect(ackedMeanwhile).toBeGreaterThan(40);
      // On a machine that stands still, the look takes longer.
      expect(errors).toBeLessThanOrEqual(triesMost * looks);
      expect(readiness).toMatch(new RegExp(`^the queue takes no packs: .*${reason.source}`));
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

  async get(path: string): Promise<string> {
    return (await fetch(this.#admin + path)).text();
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
