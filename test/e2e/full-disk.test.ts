import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";

const main = resolve(import.meta.dirname, "../../relay/main.ts");
let directory: string;
let config: string;
let agent: string;
let host: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-full-"));
  const [listen, agentAdmin, hostAdmin] = await freePorts(3);
  agent = `http://127.0.0.1:${agentAdmin}/readyz`;
  host = `http://127.0.0.1:${hostAdmin}/healthz`;
  config = join(directory, "spoa-relay.yaml");
  writeFileSync(
    config,
    `agent: { listen: 127.0.0.1:${listen}, admin: 127.0.0.1:${agentAdmin} }
host: { admin: 127.0.0.1:${hostAdmin} }
queue: embedded:./data
targets: { shadow: { url: "http://127.0.0.1:1", rate: unlimited } }
`,
  );
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("with a log that cannot be written", () => {
  it.each(["agent", "up"])(
    "%s runs, and exits with 0 at SIGTERM",
    async (command) => {
      const full = openSync("/dev/full", "w");
      const child = spawn(process.execPath, [main, command, "--config", config], { stdio: ["ignore", full, full] });
      closeSync(full);
      try {
        await until(() => answers(agent));
        if (command === "up") await until(() => answers(host));
        child.kill("SIGTERM");
        const signal = AbortSignal.timeout(30_000);
        expect(await once(child, "exit", { signal })).toEqual([0, null]);
      } finally {
        child.kill("SIGKILL");
      }
    },
    60_000,
  );
});

async function answers(url: string): Promise<boolean> {
  return (await fetch(url).catch(() => undefined))?.ok === true;
}
