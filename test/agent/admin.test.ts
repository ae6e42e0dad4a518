import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { serveAdmin } from "../../agent/admin.ts";
import { createLedger } from "../../agent/ledger.ts";
import { toAgentStats } from "../../agent/stats.ts";
import type { ListenAddress } from "../../relay/config/forms.ts";

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

describe("the figures of an agent", () => {
  const local = { kind: "tcp", host: "127.0.0.1", port: 0 } as const;
  const call = async (server: Server, path: string, headers: Readonly<Record<string, string>>) => {
    const sent = request({ port: (server.address() as AddressInfo).port, path, headers, agent: false }).end();
    const [response] = await once(sent, "response");
    return { status: response.statusCode, text: await text(response) };
  };

  it.each(["localhost:12346", "127.0.0.1:12346", "[::1]:12346"])(
    "are served to calls of this machine: %s",
    async (host) => {
      const server = await served(local);

      expect((await call(server, "/stats", { host })).status).toBe(200);
      expect((await call(server, "/metrics", { host, origin: `http://${host}` })).status).toBe(200);
    },
  );

  it.each(["evil.example:12346", "127.0.0.1.evil.example", "10.0.0.5"])(
    "are not served on a loopback address to a name that may be rebound to it: %s",
    async (host) => {
      const server = await served(local);

      expect(await call(server, "/stats", { host })).toEqual({
        status: 403,
        text: `agent.admin is a loopback address, so it can only be called as localhost, not as ${host}\n`,
      });
      expect((await call(server, "/metrics", { host })).status).toBe(403);
      expect((await call(server, "/healthz", { host })).status).toBe(200);
      expect((await call(server, "/readyz", { host })).status).toBe(200);
    },
  );

  it.each([{ host: "evil.example" }, { host: "localhost", origin: "http://evil.example" }])(
    "have no reasons in them for a web page that asks whether the agent is ready: %j",
    async (headers) => {
      const server = await served(local, ["the queue edge-7 does not answer"]);

      expect(await call(server, "/readyz", headers)).toEqual({ status: 503, text: "not ready\n" });
      expect(await call(server, "/readyz", { host: "localhost" })).toEqual({
        status: 503,
        text: "the queue edge-7 does not answer\n",
      });
    },
  );

  it.each([local, { kind: "tcp", host: "0.0.0.0", port: 0 } as const])(
    "are not served to web pages of another origin, on any address",
    async (address) => {
      const server = await served(address);
      const headers = { host: "127.0.0.1:1", origin: "http://evil.example" };

      expect(await call(server, "/stats", headers)).toEqual({
        status: 403,
        text: "web pages of http://evil.example are not allowed to read these figures\n",
      });
    },
  );

  it("are served under any name if other machines can reach the address", async () => {
    const server = await served({ kind: "tcp", host: "0.0.0.0", port: 0 });

    expect((await call(server, "/stats", { host: "relay.example" })).status).toBe(200);
  });

  it("have the time-outs of an admin address", async () => {
    const { headersTimeout, requestTimeout } = await served(local);

    expect({ headersTimeout, requestTimeout }).toEqual({ headersTimeout: 5_000, requestTimeout: 10_000 });
  });
});

async function served(address: ListenAddress, reasons: readonly string[] = []): Promise<Server> {
  const server = await serve(address, reasons);
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return server;
}

function serve(address: ListenAddress = { kind: "unix", path }, reasons: readonly string[] = []) {
  const gauges = { packs: 0, packBytes: 0, connections: 0, waitingBytes: 0, journalBytes: 0, journalPacks: 0 };
  const stats = () => toAgentStats("edge~1", "2026-01-02T03:04:05.678Z", createLedger(), gauges);
  return serveAdmin(address, { stats, metrics: new Registry(), unready: () => reasons });
}

async function statusOf(url: string): Promise<number | undefined> {
  const sent = request({ socketPath: path, path: url }).end();
  const [response] = await once(sent, "response");
  response.resume();
  return response.statusCode;
}
