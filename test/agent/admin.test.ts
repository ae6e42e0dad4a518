import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Registry } from "prom-client";
import { afterEach, beforeEach, expect, it } from "vitest";
import { serveAdmin } from "../../agent/admin.ts";
import { createLedger } from "../../agent/ledger.ts";
import { toAgentStats } from "../../agent/stats.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-admin-"));
  path = join(directory, "admin.sock");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("replaces the socket of a killed process, and answers a path with any query", async () => {
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => console.log("listening"))`;
  const killed = spawn(process.execPath, ["-e", script]);
  await once(killed.stdout, "data");
  killed.kill("SIGKILL");
  await once(killed, "exit");

  const server = await serve();
  expect(await statusOf("/healthz?probe=1")).toBe(200);
  server.close();
});

it("leaves the socket to a process that listens on it", async () => {
  const server = await serve();
  await expect(serve()).rejects.toThrow(`agent.admin: another process listens on unix:${path}`);
  server.close();
});

function serve() {
  const gauges = { packs: 0, packBytes: 0, connections: 0, waitingBytes: 0, journalBytes: 0, journalPacks: 0 };
  const stats = () => toAgentStats("edge~1", "2026-01-02T03:04:05.678Z", createLedger(), gauges);
  return serveAdmin({ kind: "unix", path }, { stats, metrics: new Registry(), unready: () => [] });
}

async function statusOf(url: string): Promise<number | undefined> {
  const sent = request({ socketPath: path, path: url }).end();
  const [response] = await once(sent, "response");
  response.resume();
  return response.statusCode;
}
