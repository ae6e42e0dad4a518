import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type FauxqsServer, startFauxqs } from "fauxqs";
import { Pool } from "undici";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { run } from "../support/processes/command-line.ts";
import { Rig } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { Gate } from "../support/servers/gate.ts";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

let emulator: FauxqsServer;
let gate: Gate;

beforeEach(async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  emulator = await startFauxqs({ port: 0, logger: false });
  emulator.createQueue("packs");
  gate = new Gate(emulator.port);
  await gate.open();
});

afterEach(async () => {
  await gate?.shut();
  await emulator?.stop();
});

describe("through a queue in SQS", () => {
  it("sends every request to the shadow once, keeps a message that is not a pack as a dead letter, and the ledger adds up", async () => {
    const rig = await startRig();
    emulator.sendMessage("packs", "not one of ours");
    const pool = new Pool(rig.frontend, { connections: 20 });
    const send = async (i: number): Promise<number> => {
      const { statusCode, body } = await pool.request({ method: "POST", path: `/api/v1/sqs/${i}`, body: `body ${i}` });
      await body.dump();
      return statusCode;
    };
    const statuses = await Promise.all(Array.from({ length: 500 }, (_, i) => send(i)));
    await pool.close();
    const ledger = await rig.settledLedger();

    const { received } = rig.shadows.shadow;
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(received).toHaveLength(500);
    expect(new Set(received.map(({ path }) => path)).size).toBe(500);
    expect(received.every(({ path, body }) => String(body) === `body ${path.split("/").at(-1)}`)).toBe(true);
    expect(addsUp(ledger)).toBe(true);
    expect((await rig.hostStats()).targets.shadow.fates["answered.2xx"]).toBe(500);
    expect((await rig.hostStats()).ingress).toEqual({ messages: 0, deadLettered: 0, deadMessages: 1 });
  });

  it("keeps requests while the queue is away, says why on /readyz, and loses none", async () => {
    const rig = await startRig();
    const pool = new Pool(rig.frontend, { connections: 10 });
    const statuses: number[] = [];
    let over = false;
    const client = async (): Promise<void> => {
      while (!over) {
        const path = `/api/v1/away/${statuses.length}`;
        const { statusCode, body } = await pool.request({ method: "GET", path });
        await body.dump();
        statuses.push(statusCode);
        await sleep(25);
      }
    };
    const clients = Array.from({ length: 10 }, client);
    await until(() => rig.shadows.shadow.received.length > 100);
    await gate.shut();
    const awayFromMs = Date.now();
    let readiness = "";
    await until(async () => {
      readiness = await rig.agentReadiness();
      // The first reason may be a call that was interrupted.
      return readiness.includes("ECONNREFUSED");
    });
    const { ingress } = await rig.hostStats();
    await sleep(Math.max(0, 3_000 - (Date.now() - awayFromMs)));
    await gate.open();
    await sleep(500);
    over = true;
    await Promise.all(clients);
    await pool.close();
    await until(async () => (await rig.agentReadiness()) === "ready\n");
    const ledger = await rig.settledLedger();

    const ids = new Set(rig.shadows.shadow.received.map(({ headers }) => headers["x-mirror-id"]));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(ids.size).toBe(statuses.length);
    expect(readiness).toContain("the queue does not accept packs");
    expect(ingress.problem).toContain("does not answer");
    expect(addsUp(ledger)).toBe(true);
    expect((await rig.hostStats()).targets.shadow.fates["answered.2xx"]).toBe(statuses.length);
  }, 60_000);
});

describe("the agent as one file", () => {
  it("contains the AWS SDK, and sends to SQS", async () => {
    const directory = mkdtempSync(join(tmpdir(), "spoa-relay-sqs-"));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const root = resolve(import.meta.dirname, "../..");
    const file = join(directory, "agent.mjs");
    const built = await run("npm", "--prefix", root, "run", "-s", "bundle", "--", "agent/main.ts", `--outfile=${file}`);
    expect(built.code).toBe(0);
    const [admin] = await freePorts(1);
    const socketPath = join(directory, "spop.sock");
    const config = join(directory, "spoa-relay.yaml");
    writeFileSync(
      config,
      `agent: { listen: "unix:${socketPath}", admin: "127.0.0.1:${admin}", drain: 10ms }
queue: ${queueUrl()}
targets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }
`,
    );
    const agent = spawn(process.execPath, [file, "--config", config], { stdio: "ignore" });
    onTestFinished(() => void agent.kill("SIGKILL"));
    const exited = once(agent, "exit");
    await until(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined))?.ok === true);
    const socket = createConnection({ path: socketPath });
    onTestFinished(() => void socket.destroy());
    socket.write(Buffer.concat([hello(), notify({ messages: [get("/a"), get("/b")] })]));

    await until(() => emulator.inspectQueue("packs")?.messages.ready.length === 1);
    agent.kill("SIGTERM");

    expect(JSON.parse(emulator.inspectQueue("packs")?.messages.ready[0].body ?? "{}")).toMatchObject({ count: 2 });
    expect((await exited)[0]).toBe(0);
  });
});

async function startRig(): Promise<Rig> {
  const rig = await Rig.start({
    targets: { shadow: "rate: unlimited" },
    agent: "  pack: { linger: 50ms }",
    // After this time, the emulator redelivers messages that a killed or closed receiver had taken.
    host: "  visibility: 2s",
    queue: queueUrl(),
  });
  onTestFinished(() => rig.stop());
  return rig;
}

function queueUrl(): string {
  return `http://127.0.0.1:${gate.port}/000000000000/packs`;
}
