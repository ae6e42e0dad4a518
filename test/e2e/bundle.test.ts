import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { until } from "../support/clocks/until.ts";
import { run } from "../support/processes/command-line.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

const root = resolve(import.meta.dirname, "../..");
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-bundle-"));
  // In a directory without node_modules above it, so that the bundles must be complete.
  for (const [entry, file] of [
    ["agent/main.ts", "agent.js"],
    ["relay/main.ts", "spoa-relay.js"],
  ]) {
    const built = await run(
      "npm",
      "--prefix",
      root,
      "run",
      "--silent",
      "bundle",
      "--",
      entry,
      `--outfile=${join(directory, file)}`,
    );
    expect(built.stderr).not.toContain("error");
    expect(built.code).toBe(0);
  }
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the agent as one file", () => {
  it.each([
    ["agent.js", []],
    ["spoa-relay.js", ["agent"]],
  ])("receives requests, and its thread puts them into the queue: %s", async (name, command) => {
    rmSync(join(directory, "data"), { recursive: true, force: true });
    const [port, admin] = await freePorts(2);
    const config = join(directory, "spoa-relay.yaml");
    writeFileSync(
      config,
      `agent: { listen: "unix:${join(directory, "spop.sock")}", admin: "127.0.0.1:${admin}", drain: 10ms }
queue: embedded:./data
targets: { a: { url: "http://127.0.0.1:${port}", rate: 1/s } }
`,
    );
    const agent = spawn(process.execPath, [join(directory, name), ...command, "--config", config], { stdio: "ignore" });
    const exited = once(agent, "exit");
    try {
      await until(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined))?.ok === true);
      const socket = createConnection({ path: join(directory, "spop.sock") });
      socket.write(Buffer.concat([hello(), notify({ messages: [get("/a"), get("/b")] })]));
      await until(async () => {
        const { seen } = (await (await fetch(`http://127.0.0.1:${admin}/stats`)).json()) as { seen: number };
        return seen === 2;
      });
      agent.kill("SIGTERM");
      expect((await exited)[0]).toBe(0);
      socket.destroy();
    } finally {
      agent.kill("SIGKILL");
    }
    const queue = EmbeddedQueue.open({ directory: join(directory, "data"), name: ingressQueue });
    expect(queue.depth()).toEqual({ messages: 1, requests: 2 });
    queue.close();
  });

  it("prints its help, and exits with 2 for a wrong argument", async () => {
    expect((await run(process.execPath, join(directory, "agent.js"), "--help")).stdout).toContain("Usage: agent");
    expect((await run(process.execPath, join(directory, "agent.js"), "--bogus")).code).toBe(2);
  });
});

describe.for(["agent", "spoa-relay"])("%s.js on an older Node", (name) => {
  it("says which version is needed, and exits with 2", async () => {
    const older = "Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})";
    const file = join(directory, `${name}.js`);
    const { code, stdout, stderr } = await run(process.execPath, "--import", `data:text/javascript,${older}`, file);

    expect(stderr).toBe("spoa-relay needs Node 24 or newer, this is v20.20.2; in a clone use node_modules/.bin/node\n");
    expect([code, stdout]).toEqual([2, ""]);
  });

  it("loads there: it imports by name nothing that an older Node lacks", () => {
    const text = readFileSync(join(directory, `${name}.js`), "utf8");
    const imports = text.match(/^import .* from "node:.*$/gm) ?? [];

    expect(imports).not.toEqual([]);
    expect(imports.filter((line) => /node:sqlite|\b(?:zstd\w+|crc32|hash)\b/.test(line))).toEqual([]);
  });
});

describe.for(["agent", "host"])("spoa-relay-%s.service", (part) => {
  it("is installed by the commands in its first lines, and can start the installed program", async () => {
    const unit = `agent/systemd/spoa-relay-${part}.service`;
    const place = join(directory, part);
    const text = readFileSync(join(root, unit), "utf8");
    const installs = [...text.matchAll(/^# {3}(install .*)$/gm)].map(([, command]) => command);

    for (const command of installs) {
      const [, file, to] = /^install -D -m 644 (\S+) (\S+)$/.exec(command) ?? [];
      const from = file.startsWith("agent/") ? join(root, file) : join(directory, file.replace("dist/", ""));
      const { code, stderr } = await run("install", "-D", "-m", "644", from, join(place, to));
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    }
    const [, ...args] = (/^ExecStart=(.*)$/m.exec(text)?.[1] ?? "").split(" ");
    const there = args.map((arg) => (arg.startsWith("/") ? join(place, arg) : arg));
    const { code, stdout } = await run(process.execPath, ...there, "--help");

    expect(installs).toHaveLength(3);
    expect(readFileSync(join(place, `etc/systemd/system/spoa-relay-${part}.service`), "utf8")).toBe(text);
    expect(existsSync(join(place, "etc/spoa-relay/spoa-relay.yaml"))).toBe(true);
    expect(stdout).toContain(`Usage: ${part === "agent" ? "agent" : "spoa-relay host"}`);
    expect(code).toBe(0);
  });
});

describe("the command line as one file", () => {
  it("runs without node_modules", async () => {
    const { code, stdout } = await run(
      process.execPath,
      join(directory, "spoa-relay.js"),
      "config",
      "check",
      "--config",
      join(directory, "spoa-relay.yaml"),
    );
    expect(stdout).toContain("is valid: 1 target (a), no captures");
    expect(code).toBe(0);
  });
});
