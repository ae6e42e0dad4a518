import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, expect, it } from "vitest";
import { Listener } from "../../agent/listener/listener.ts";
import { HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { JsonServer } from "../../relay/demo/json-server.ts";
import { until } from "../support/clocks/until.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { haproxyProgram } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

it("HAProxy replaces a connection that the agent closed because it was idle, and mirrors the next request", async () => {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-idle-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const [frontend, stats, primaryPort, agentPort] = await freePorts(4);
  const primary = new JsonServer("primary", primaryPort, () => {});
  await primary.start();
  cleanups.push(() => primary.stop());
  const logged = new LogLines();
  let mirrored = 0;
  let idle = 0;
  const listener = new Listener({
    address: { kind: "tcp", host: "127.0.0.1", port: agentPort },
    maxFrameBytes: 1024 * 1024,
    stallMs: 50,
    idleMs: 300,
    onNotify: () => {
      mirrored++;
    },
    onOversize: () => {},
    log: logged.log,
  });
  cleanups.push(() => listener.destroy());
  await listener.listen();
  const haproxy = new HaproxyProcess({
    program: haproxyProgram(),
    configFile: resolve(import.meta.dirname, "../../agent/haproxy/haproxy.cfg"),
    variables: {
      RELAY_FRONTEND_PORT: String(frontend),
      RELAY_STATS_PORT: String(stats),
      RELAY_PRIMARY: `127.0.0.1:${primaryPort}`,
      RELAY_AGENT: `127.0.0.1:${agentPort}`,
      RELAY_PROCESSING_TIMEOUT: "5s",
      RELAY_CONNECT_TIMEOUT: "4s",
    },
    onOutput: () => {},
  });
  cleanups.push(() => haproxy.stop());
  const ask = () =>
    fetch(`http://127.0.0.1:${frontend}/api/v1/idle`).then(
      ({ status }) => status,
      () => 0,
    );
  await until(async () => (await ask()) === 200 && mirrored > 0);

  const statuses: number[] = [];
  const before = mirrored;
  for (let round = 0; round < 5; round++) {
    await until(() => listener.connections === 0);
    idle++;
    statuses.push(await ask());
    await until(() => mirrored === before + idle);
  }

  expect(statuses).toEqual([200, 200, 200, 200, 200]);
  expect(logged.lines.filter(({ level }) => level !== "info")).toEqual([]);
});
