import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { AgentStats } from "../../relay/stats/agent-stats.ts";
import { until } from "../support/clocks/until.ts";
import { openFiles, residentMiB } from "../support/processes/open-files.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { bool, get, hello, notify } from "../support/spop/spop-frames.ts";
import { SpopPeer } from "../support/spop/spop-peer.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Agent {
  readonly pid: number;
  readonly process: ChildProcess;
  readonly output: () => string;
  readonly connect: () => SpopPeer;
  readonly stats: () => Promise<AgentStats>;
}

/** A real agent process with its queue on disk. */
async function startAgent(maxFiles?: number): Promise<Agent> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-crowds-"));
  const [port, admin] = await freePorts(2);
  const file = join(directory, "spoa-relay.yaml");
  writeFileSync(
    file,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}" }
queue: embedded:./data
targets: { none: { url: "http://127.0.0.1:1", rate: 1/s } }
`,
  );
  const command = [process.execPath, resolve(import.meta.dirname, "../../relay/main.ts"), "agent", "--config", file];
  const child =
    maxFiles === undefined
      ? spawn(command[0], command.slice(1))
      : spawn("bash", ["-c", `ulimit -n ${maxFiles}; exec "$@"`, "bash", ...command]);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  cleanups.push(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    rmSync(directory, { recursive: true });
  });
  await until(() => output.includes('"listening"'));
  const agent: Agent = {
    pid: child.pid as number,
    process: child,
    output: () => output,
    connect: () => new SpopPeer({ port, host: "127.0.0.1" }),
    stats: async () => (await (await fetch(`http://127.0.0.1:${admin}/stats`)).json()) as AgentStats,
  };
  // The first request opens the files of the queue, which stay open.
  const first = agent.connect().read();
  await first.send(hello(), notify());
  await first.frames(2);
  first.socket.destroy();
  await until(async () => (await agent.stats()).enqueued === 1);
  return agent;
}

/** The agent's open descriptors once all SPOP connections are closed, including the connection for /stats. */
async function restingFiles(agent: Agent): Promise<number> {
  await until(async () => (await agent.stats()).connections === 0);
  return openFiles(agent.pid);
}

// An idle agent uses 140 MiB. Most of the rest is garbage that V8 has not collected yet: after 150,000 connections 25 MiB are
// in use.
const maxMiB = 300;

it("an agent serves 1,000 connections at once, and frees their resources", { timeout: 60_000 }, async () => {
  const agent = await startAgent();
  const filesBefore = await restingFiles(agent);
  const requests = 20;

  const peers = Array.from({ length: 1_000 }, () => agent.connect().read());
  const traffic = Array.from({ length: requests }, (_, k) => notify({ streamId: k, messages: [get(`/${k}`)] }));
  await Promise.all(peers.map((peer) => peer.send(hello())));
  await Promise.all(peers.map((peer) => peer.frames(1)));
  expect((await agent.stats()).connections).toBe(1_000);
  for (const frame of traffic) await Promise.all(peers.map((peer) => peer.send(frame)));
  const answers = await Promise.all(peers.map((peer) => peer.frames(1 + requests)));

  const expected = traffic.map((_, k) => BigInt(k));
  const acknowledged = answers.map((frames) => frames.slice(1).map(({ streamId }) => streamId));
  expect(acknowledged.filter((ids) => ids.join() !== expected.join())).toEqual([]);
  expect((await agent.stats()).seen).toBe(1 + 1_000 * requests);
  expect(residentMiB(agent.pid)).toBeLessThan(maxMiB);
  for (const { socket } of peers) socket.destroy();
  await until(async () => (await restingFiles(agent)) <= filesBefore);
});

it("an agent survives 5,000 connections that end in every possible way", { timeout: 60_000 }, async () => {
  const agent = await startAgent();
  const filesBefore = await restingFiles(agent);
  const steady = agent.connect().read();
  await steady.send(hello());
  await steady.frames(1);
  const frame = notify({ streamId: 1, messages: [get(`/${"x".repeat(2_000)}`)] });
  const visits: ((peer: SpopPeer) => Promise<void> | void)[] = [
    (peer) => void peer.socket.destroy(),
    (peer) => void peer.socket.resetAndDestroy(),
    (peer) => void peer.socket.end(),
    async (peer) => {
      await peer.send(hello({ healthcheck: bool(true) }));
      await peer.closed;
    },
    async (peer) => {
      await peer.send(hello(), frame, frame.subarray(0, 1_000));
      await peer.frames(2);
      peer.socket.resetAndDestroy();
    },
    async (peer) => {
      await peer.send(hello(), frame);
      peer.socket.destroy();
    },
    async (peer) => {
      await peer.send(Buffer.from("GET / HTTP/1.1\r\nhost: scanner\r\n\r\n"));
      await peer.closed;
    },
    (peer) => void peer.socket.end(hello()),
  ];
  let started = 0;

  const visitor = async (): Promise<void> => {
    while (started < 5_000) {
      const visit = visits[started++ % visits.length];
      const peer = agent.connect().read();
      await once(peer.socket, "connect");
      await visit(peer);
      peer.socket.destroy();
      await peer.closed;
    }
  };
  await Promise.all(Array.from({ length: 50 }, visitor));
  await steady.send(frame);

  expect((await steady.frames(2)).map(({ type }) => type)).toEqual(["hello", "ack"]);
  expect(residentMiB(agent.pid)).toBeLessThan(maxMiB);
  expect(agent.process.exitCode).toBeNull();
  // One log line for all scanners together.
  expect(agent.output().match(/"level":"(warn|error)"/g)).toEqual(['"level":"warn"']);
  steady.socket.destroy();
  await until(async () => (await restingFiles(agent)) <= filesBefore);
});

it("an agent without free descriptors serves its connections, and accepts new ones once there are free ones", {
  timeout: 60_000,
}, async () => {
  const agent = await startAgent(80);
  const first = agent.connect().read();
  await first.send(hello());
  await first.frames(1);

  const crowd = Array.from({ length: 150 }, () => agent.connect().read());
  await Promise.all(crowd.map(({ socket }) => Promise.race([once(socket, "connect"), once(socket, "close")])));
  await first.send(notify());
  expect(await first.frames(2)).toHaveLength(2);
  for (const { socket } of crowd) socket.destroy();
  await Promise.all(crowd.map(({ closed }) => closed));

  await until(async () => {
    const late = agent.connect().read();
    await late.send(hello(), notify());
    const frames = await late.frames(2);
    late.socket.destroy();
    return frames.length === 2;
  });
  expect(agent.process.exitCode).toBeNull();
});
