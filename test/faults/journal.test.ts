import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Journal } from "../../agent/shipper/journal.ts";
import { parseSummary } from "../../relay/pack/summary.ts";
import { agentNodeFlags } from "../../relay/process/service.ts";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

const main = resolve(import.meta.dirname, "../../relay/main.ts");
const packRequests = 50;

let directory: string;
let journal: string;
let ports: { readonly spop: number; readonly admin: number; readonly queue: number };
let emulator: FauxqsServer | undefined;
const agents: ChildProcess[] = [];
const output: string[] = [];

beforeEach(async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-faults-"));
  journal = join(directory, "journal");
  const [spop, admin, queue] = await freePorts(3);
  ports = { spop, admin, queue };
  output.length = 0;
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await kill(agent, "SIGKILL");
  await emulator?.stop();
  emulator = undefined;
  rmSync(directory, { recursive: true, force: true });
});

describe("while the queue is unavailable", () => {
  it("kill -9 of the agent loses no closed pack: all sequence numbers arrive", async () => {
    const first = await startAgent();
    await mirror(20 * packRequests);
    await until(async () => (await stats()).seen === 20 * packRequests);
    await journaled(20);
    await kill(first, "SIGKILL");

    await startQueue();
    await startAgent();
    await until(async () => (await stats()).recovered === 20 * packRequests);
    await logged(/"event":"recovered","packs":20,"requests":1000,"damaged":0/);
    const summaries = await received();
    expect(summaries.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(new Set(summaries.map(({ pack }) => pack)).size).toBe(20);
    // The journal is empty: nothing will be sent a second time.
    await until(async () => (await stats()).journalBytes === 0);
  }, 60_000);

  it("an agent that stops leaves its journal to the next one and exits with 0", async () => {
    const first = await startAgent();
    await mirror(3 * packRequests + 7);
    await until(async () => (await stats()).seen === 3 * packRequests + 7);
    expect(await kill(first, "SIGTERM")).toBe(0);

    await startQueue();
    await startAgent();
    await until(async () => (await stats()).recovered === 3 * packRequests + 7);
  }, 60_000);

  it("new packs are sent together with the waiting ones, and each arrives once", async () => {
    await startAgent();
    await mirror(200 * packRequests);
    await until(async () => (await stats()).seen === 200 * packRequests);
    await until(async () => (await stats()).journalBytes > 0);
    await startQueue();
    await mirror(10 * packRequests);
    await until(async () => (await stats()).enqueued === 210 * packRequests);
    expect((await stats()).pending).toBe(0);
    expect(new Set((await received()).map(({ pack }) => pack)).size).toBe(210);
  }, 60_000);
});

describe("a full disk", () => {
  it.skipIf(process.getuid?.() !== 0)(
    "disables the journal with a log line, loses no request, and the journal is used again once there is space",
    async () => {
      mkdirSync(journal);
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", journal]);
      try {
        writeFileSync(join(journal, "ballast"), Buffer.alloc(900 * 1024));
        await startAgent();
        await mirror(2000 * packRequests, "incompressible");
        await logged(/"event":"journal-down".*ENOSPC/);
        await until(async () => (await stats()).seen === 2000 * packRequests);
        rmSync(join(journal, "ballast"));
        await startQueue();
        await until(async () => (await stats()).enqueued === 2000 * packRequests);
        await until(async () => {
          await mirror(packRequests);
          return output.join("").includes('"event":"journal-up"');
        });
        expect((await stats()).dropped).toEqual({});
      } finally {
        for (const agent of agents.splice(0)) await kill(agent, "SIGKILL");
        execFileSync("umount", [journal]);
      }
    },
    90_000,
  );
});

describe("an hour's worth of outage", () => {
  it("is kept on disk and not in memory", async () => {
    const agent = await startAgent();
    await mirror(50 * packRequests);
    const before = rssMb(agent);
    // In parts: packs that are not on disk yet are in memory, and on a slow machine these may be many.
    for (let part = 0; part < 16; part++) {
      await mirror(500 * packRequests, "incompressible");
      await until(async () => (await stats()).waitingBytes < 10_000_000);
    }
    await until(async () => (await stats()).seen === 8050 * packRequests);
    await until(async () => (await stats()).journalBytes > 20_000_000);
    expect((await stats()).dropped).toEqual({});
    // The heaps of both threads grow to their working size, but do not hold the 80 MB of requests.
    expect(rssMb(agent) - before, "MB more").toBeLessThan(150);
  }, 120_000);
});

async function startAgent(): Promise<ChildProcess> {
  const config = join(directory, "spoa-relay.yaml");
  writeFileSync(
    config,
    `agent:
  listen: 127.0.0.1:${ports.spop}
  admin: 127.0.0.1:${ports.admin}
  drain: 10ms
  pack: { requests: ${packRequests}, linger: 60s }
  journal: { directory: ${journal} }
queue: http://127.0.0.1:${ports.queue}/000000000000/packs
targets: { none: { url: "http://127.0.0.1:1", rate: 1/s } }
`,
  );
  // Packs close by their count only, even on a slow machine. Flags and environment are those of the systemd unit.
  const agent = spawn(process.execPath, [...agentNodeFlags, main, "agent", "--config", config], {
    env: { ...process.env, MALLOC_ARENA_MAX: "2" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  agent.stdout.on("data", (text: Buffer) => output.push(text.toString()));
  agents.push(agent);
  await until(async () => (await fetch(`http://127.0.0.1:${ports.admin}/healthz`).catch(() => undefined))?.ok === true);
  return agent;
}

async function startQueue(): Promise<void> {
  emulator = await startFauxqs({ port: ports.queue, logger: false });
  emulator.createQueue("packs");
}

/** Sends `count` requests over one connection and waits for their ACKs. */
async function mirror(count: number, kind: "alike" | "incompressible" = "alike"): Promise<void> {
  const socket = createConnection({ host: "127.0.0.1", port: ports.spop, noDelay: true });
  let acked = 0;
  let rest: Buffer = Buffer.alloc(0);
  const done = new Promise<void>((resolve) => {
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (; rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0); acked++) {
        rest = rest.subarray(4 + rest.readUInt32BE(0));
      }
      // The first frame is AGENT-HELLO.
      if (acked === count + 1) resolve();
    });
  });
  socket.write(hello());
  for (let i = 0; i < count; i += packRequests) {
    const frames = Array.from({ length: Math.min(packRequests, count - i) }, (_, k) =>
      notify({ streamId: i + k + 1, messages: [get(`/${kind === "alike" ? "same" : randomText()}/${i + k}`)] }),
    );
    socket.write(Buffer.concat(frames));
    // Lets the ACKs be read: the agent closes connections that do not read them.
    while (i - acked > 2_000) await new Promise((resolve) => setImmediate(resolve));
  }
  await done;
  socket.destroy();
}

function randomText(): string {
  return Array.from({ length: 12 }, () => Math.random().toString(36).slice(2)).join("");
}

/** Uses a new connection each time: the agent may close an idle one just when it is used again. */
async function stats(): Promise<AgentStats> {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/stats`, { headers: { connection: "close" } });
  return (await response.json()) as AgentStats;
}

/** Waits for a log line, which is written some time after its event. */
async function logged(line: RegExp): Promise<void> {
  await until(() => line.test(output.join("")));
}

/** Waits until `packs` packs are complete on disk, as the next agent would find them. */
async function journaled(packs: number): Promise<void> {
  let copies = 0;
  await until(() => {
    if (!existsSync(journal)) return false;
    // Opens a copy, since the agent still writes to the journal and has its lock.
    const copy = join(directory, `copy-${++copies}`);
    cpSync(journal, copy, { recursive: true });
    const options = { directory: copy, run: "probe", maxBytes: 2 ** 30, whenFull: "drop-newest" } as const;
    const found = Journal.open({ ...options, onExposed: () => {}, onLost: () => {} });
    found.close();
    return found.recovery.packs === packs;
  });
}

/** The summaries of all packs in the queue. */
async function received() {
  const queue = new SqsQueue({ url: `http://127.0.0.1:${ports.queue}/000000000000/packs` });
  const summaries = [];
  const { signal } = new AbortController();
  for (;;) {
    const deliveries = await queue.receive({ max: 10, waitMs: 0, visibilityMs: 60_000, signal });
    if (deliveries.length === 0) break;
    for (const { body } of deliveries)
      summaries.push(parseSummary(body) as NonNullable<ReturnType<typeof parseSummary>>);
  }
  queue.close();
  return summaries;
}

async function kill(agent: ChildProcess, signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
  if (agent.exitCode !== null || agent.signalCode !== null) return agent.exitCode;
  agent.kill(signal);
  const [code] = (await once(agent, "exit")) as [number | null];
  return code;
}

function rssMb(agent: ChildProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, "utf8"))?.[1]) / 1_024;
}
