import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { startFauxqs } from "fauxqs";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import { until } from "../support/clocks/until.ts";
import { deadLinksOf, readDocuments, root } from "../support/data/documents.ts";
import { type CommandResult, run } from "../support/processes/command-line.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

// `npm pack`, and its package installed into an empty project, without a network.

const directory = mkdtempSync(join(tmpdir(), "spoa-relay-package-"));
const project = join(directory, "project");
// A copy: packing replaces dist/, which other tests may be using.
const clone = join(directory, "clone");
const documents = readDocuments().map(({ file }) => file);
const sources = [".ci", "LICENSE", "agent", "functions", "package.json", "relay", "tsconfig.json", ...documents];
const env = {
  ...process.env,
  // The system's Node may be older than the one of the tests.
  PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
};

let files: readonly string[];

beforeAll(async () => {
  for (const name of sources) cpSync(join(root, name), join(clone, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(clone, "node_modules"));
  const packed = await npm(clone, "pack", "--json", "--silent", "--pack-destination", directory);
  expect(packed.code, packed.stderr).toBe(0);
  const [{ filename, files: entries }] = JSON.parse(packed.stdout) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  files = entries.map(({ path }) => path).sort();
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), "{}");
  const cache = `--cache=${join(directory, "cache")}`;
  const installed = await npm(
    project,
    "install",
    "--offline",
    "--no-audit",
    "--no-fund",
    cache,
    join(directory, filename),
  );
  expect(installed.code, installed.stderr).toBe(0);
}, 120_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the package of `npm pack`", () => {
  it("has the programs, their documents and example files, and nothing else", () => {
    expect(files).toEqual([
      "CHANGELOG.md",
      "CONTRIBUTING.md",
      "LICENSE",
      "README.md",
      "SECURITY.md",
      "agent/README.md",
      "agent/haproxy/haproxy-response.cfg",
      "agent/haproxy/haproxy.cfg",
      "agent/haproxy/spoe-response.cfg",
      "agent/haproxy/spoe.cfg",
      "agent/prometheus/alerts.yaml",
      "agent/systemd/spoa-relay-agent.service",
      "agent/systemd/spoa-relay-host.service",
      "dist/THIRD-PARTY.txt",
      "dist/agent.js",
      "dist/functions/control.mjs",
      "dist/functions/fanout.mjs",
      "dist/functions/replay.mjs",
      "dist/functions/schedule.mjs",
      "dist/spoa-relay.js",
      "functions/README.md",
      "infra/README.md",
      "infra/RUNBOOK.md",
      "package.json",
      "relay/README.md",
      "test/README.md",
    ]);
  });

  it("has no dead link in its documents", () => {
    const installed = join(project, "node_modules/spoa-relay");
    const dead = files
      .filter((file) => file.endsWith(".md"))
      .flatMap((file) => deadLinksOf(installed, { file, text: readFileSync(join(installed, file), "utf8") }));

    expect(dead).toEqual([]);
  });

  it("installs no other package: all of them are in its bundles", () => {
    const installed = readdirSync(join(project, "node_modules")).filter((name) => !name.startsWith("."));
    expect(installed).toEqual(["spoa-relay"]);
  });

  it("has the licences of the packages in its bundles", () => {
    const text = readFileSync(join(project, "node_modules/spoa-relay/dist/THIRD-PARTY.txt"), "utf8");
    for (const name of ["@aws-sdk/client-sqs", "@smithy/core", "commander", "hono", "pino", "undici", "yaml", "zod"]) {
      expect(text).toMatch(new RegExp(`^${name} \\d+\\.`, "m"));
    }
    expect(text).toContain("Permission is hereby granted, free of charge");
  });

  it("prints its help", async () => {
    const { code, stdout } = await npx("--help");
    expect(stdout).toContain("Usage: spoa-relay");
    expect(code).toBe(0);
  });

  it("runs agent and host, and replays and captures a request", async () => {
    const shadow = await ShadowServer.start();
    const [agent, host] = await freePorts(2);
    writeConfig(
      `agent: { listen: "unix:${join(project, "spop.sock")}", admin: "127.0.0.1:${agent}", pack: { linger: 20ms }, drain: 10ms }`,
      `host: { admin: "127.0.0.1:${host}" }`,
      "queue: embedded:./data",
      `targets: { a: { url: "${shadow.url.origin}", rate: unlimited } }`,
      "captures: { shop: { store: ./captures } }",
    );
    const up = start("up");
    await until(() => ready(agent));
    await sendRequest("/once");
    await shadow.arrived(1);
    const stats = await npx("stats");
    await stop(up);

    expect(shadow.paths).toEqual(["/once"]);
    expect(stats.stdout).toContain("answered");
    expect((await npx("captures", "cat", "shop")).stdout).toContain("/once");
    expect(up.errors).toEqual([]);
  });

  it("runs an agent that sends to SQS", async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) vi.stubEnv(name, "test");
    onTestFinished(() => void vi.unstubAllEnvs());
    const emulator = await startFauxqs({ port: 0, logger: false });
    onTestFinished(() => emulator.stop());
    emulator.createQueue("packs");
    const url = `http://127.0.0.1:${emulator.port}/000000000000/packs`;
    const [admin] = await freePorts(1);
    writeConfig(
      `agent: { listen: "unix:${join(project, "spop.sock")}", admin: "127.0.0.1:${admin}", pack: { linger: 20ms }, drain: 10ms }`,
      `queue: ${url}`,
      'targets: { a: { url: "http://127.0.0.1:9", rate: 1/s } }',
    );
    const agent = start("agent");
    await until(() => ready(admin));
    await sendRequest("/queued");
    const queue = new SqsQueue({ url });
    onTestFinished(() => queue.close());
    const { signal } = new AbortController();
    const [pack] = await queue.receive({ max: 1, waitMs: 20_000, visibilityMs: 60_000, signal });
    await stop(agent);

    expect(JSON.parse(pack.body)).toMatchObject({ count: 1 });
    expect(agent.errors).toEqual([]);
  });
});

interface Running {
  readonly child: ChildProcess;
  /** Log lines of the level error, and the text on standard error. */
  readonly errors: string[];
}

function npm(cwd: string, ...args: readonly string[]): Promise<CommandResult> {
  return inProject(cwd, "npm", ...args);
}

/** The command line of the package, as its users call it. */
function npx(...args: readonly string[]): Promise<CommandResult> {
  return inProject(project, "npx", "--no-install", "spoa-relay", ...args);
}

function inProject(cwd: string, ...command: readonly string[]): Promise<CommandResult> {
  const { PATH = "" } = env;
  return run("env", "-C", cwd, `PATH=${PATH}`, ...command);
}

function writeConfig(...lines: readonly string[]): void {
  writeFileSync(join(project, "spoa-relay.yaml"), `${lines.join("\n")}\n`);
}

/** Starts the installed program without npx, which would not pass signals on. */
function start(command: string): Running {
  const program = join(project, "node_modules/.bin/spoa-relay");
  const child = spawn(program, [command], { cwd: project, env: { ...env, ...process.env, PATH: env.PATH } });
  const errors: string[] = [];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    errors.push(...text.split("\n").filter((line) => line.includes('"level":"error"')));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => void errors.push(text));
  onTestFinished(() => void child.kill("SIGKILL"));
  return { child, errors };
}

async function stop({ child }: Running): Promise<void> {
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  expect(code).toBe(0);
}

async function ready(admin: number): Promise<boolean> {
  return (await fetch(`http://127.0.0.1:${admin}/readyz`).catch(() => undefined))?.ok === true;
}

async function sendRequest(path: string): Promise<void> {
  const socket = createConnection({ path: join(project, "spop.sock") });
  onTestFinished(() => void socket.destroy());
  socket.write(Buffer.concat([hello(), notify({ messages: [get(path)] })]));
  await once(socket, "data");
}
