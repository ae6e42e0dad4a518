import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Pool } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { JsonServer } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Rig } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { bin, hello, notify, str } from "../support/spop/spop-frames.ts";

const main = resolve(import.meta.dirname, "../../relay/main.ts");
const cleanups: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe("a stopping agent", () => {
  it("drains, sends all packs and exits with 0, and no client notices", async () => {
    const rig = await startRig({
      targets: { shadow: "rate: unlimited" },
      agent: "  drain: 1500ms\n  pack: { linger: 60s }",
    });
    const pool = new Pool(rig.frontend, { connections: 20 });
    let stopped = false;
    let failures = 0;
    let sent = 0;
    const client = async (): Promise<void> => {
      while (!stopped) {
        sent++;
        const { statusCode, body } = await pool.request({ method: "GET", path: `/api/v1/drain/${sent}` });
        await body.dump();
        if (statusCode !== 200) failures++;
      }
    };
    const clients = Array.from({ length: 20 }, client);
    await until(() => sent > 500);
    const { agent } = rig;
    agent?.kill("SIGTERM");
    // Closed, not only ended: by then its last output has been read.
    const [code] = await once(agent as NonNullable<typeof agent>, "close");
    stopped = true;
    await Promise.all(clients);
    await pool.close();
    expect(code).toBe(0);
    expect(failures).toBe(0);

    const { seen, enqueued, pending } = finalStats(rig.output);
    expect({ enqueued, pending }).toEqual({ enqueued: seen, pending: 0 });
    await until(async () => (await rig.hostStats()).targets.shadow.fates["answered.2xx"] >= enqueued);
    expect((await rig.hostStats()).targets.shadow.fates["answered.2xx"]).toBe(enqueued);
    expect(rig.shadows.shadow.received.length).toBe(enqueued);
  }, 60_000);

  it("ends at once with 1 at the second signal, and logs how many requests it gave up", async () => {
    const rig = await startRig({
      targets: { shadow: "rate: unlimited" },
      agent: "  drain: 8s\n  pack: { linger: 60s }",
    });
    const pool = new Pool(rig.frontend);
    for (let i = 0; i < 7; i++) await (await pool.request({ method: "GET", path: "/api/v1/x" })).body.dump();
    await pool.close();
    const agent = rig.agent as NonNullable<typeof rig.agent>;
    agent.kill("SIGTERM");
    await until(() => rig.output.includes('"draining"'));
    // Within half a second it would count as the first one. A third one could kill the process while it exits.
    const again = setInterval(() => rig.output.includes('"killed"') || agent.kill("SIGTERM"), 1_500);
    const [code] = await once(agent, "close");
    clearInterval(again);
    expect(code).toBe(1);
    expect(rig.output).toMatch(/"event":"killed","givenUp":7/);
  }, 60_000);
});

describe("a peer that does not speak SPOP", () => {
  it("does not disturb HAProxy", async () => {
    const rig = await startRig({ targets: { shadow: "rate: unlimited" } });
    const { address } = JSON.parse(/\{.*"event":"listening".*\}/.exec(rig.output)?.[0] ?? "{}") as { address: string };
    const port = Number(address.split(":").at(-1));
    const strangers = [
      "GET / HTTP/1.1\r\n\r\n",
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      "\x00\x00\x00\x07\x03\x00\x00\x00\x01\x01\x01",
    ];
    const answers = await Promise.all(strangers.map((bytes) => exchange(port, bytes)));
    const texts = answers.map((bytes) => bytes.toString("latin1"));
    expect(texts[0]).toContain("this is an HTTP request");
    expect(texts[1]).toContain("this is a TLS ClientHello");
    expect(texts[2]).toContain("the first frame must be HAPROXY-HELLO");

    const pool = new Pool(rig.frontend);
    await (await pool.request({ method: "GET", path: "/api/v1/still-there" })).body.dump();
    await pool.close();
    expect(addsUp(await rig.settledLedger())).toBe(true);
    expect(rig.shadows.shadow.received.length).toBe(1);
    const ends = () => rig.output.match(/"event":"session-end"/g)?.length ?? 0;
    await until(() => ends() >= 3);
    expect(ends()).toBe(3);
  }, 60_000);
});

describe("spoa-relay mirror", () => {
  it("runs with the flags of spoa-mirror and one URL for the given time", async () => {
    const directory = mkdtempSync(join(tmpdir(), "spoa-relay-mirror-"));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const [shadowPort, port] = await freePorts(4);
    const shadow = new JsonServer("shadow", shadowPort, () => {});
    await shadow.start();
    cleanups.push(() => shadow.stop());
    const child = spawn(
      process.execPath,
      [
        main,
        "mirror",
        "-r",
        "8s",
        "-u",
        `http://127.0.0.1:${shadowPort}/base`,
        "-p",
        String(port),
        "--data",
        directory,
      ],
      { stdio: "ignore" },
    );
    const exited = once(child, "exit");
    cleanups.push(() => child.kill("SIGKILL"));
    const socket = await connected(port);
    cleanups.push(() => socket.destroy());
    const message = {
      name: "mirror",
      args: [
        ["arg_method", str("PATCH")],
        ["arg_path", str("/old?x=1")],
        ["arg_ver", str("1.1")],
        ["arg_hdrs", str("x-tag: 1\r\n\r\n")],
        ["arg_body", bin("")],
      ],
    } as const;
    socket.write(Buffer.concat([hello(), notify({ messages: [message] })]));
    await until(() => shadow.received.length === 1);
    const [{ method, path, headers }] = shadow.received;
    expect({ method, path, tag: headers["x-tag"] }).toEqual({ method: "PATCH", path: "/base/old?x=1", tag: "1" });
    expect((await exited)[0]).toBe(0);
  }, 60_000);
});

async function startRig(options: Parameters<typeof Rig.start>[0]): Promise<Rig> {
  const rig = await Rig.start(options);
  cleanups.push(() => rig.stop());
  return rig;
}

function finalStats(output: string): { seen: number; enqueued: number; pending: number } {
  const line = output.split("\n").findLast((text) => text.includes('"event":"stopped"') && text.includes('"seen"'));
  return JSON.parse(line ?? "{}");
}

async function connected(port: number): Promise<Socket> {
  let socket: Socket | undefined;
  await until(async () => {
    const attempt = createConnection({ host: "127.0.0.1", port });
    const worked = await once(attempt, "connect").then(
      () => true,
      () => false,
    );
    socket = attempt;
    return worked;
  });
  return socket as Socket;
}

async function exchange(port: number, bytes: string): Promise<Buffer> {
  const socket = await connected(port);
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  socket.write(Buffer.from(bytes, "latin1"));
  await once(socket, "close");
  return Buffer.concat(chunks);
}
