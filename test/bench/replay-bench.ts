import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findHaproxy, HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { until } from "../support/clocks/until.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { summarizeProfiles } from "./cpu-profile.ts";
import type { Round } from "./replay-rounds.ts";
import type { Row } from "./table.ts";

const rounds = 7;
const profiledRounds = 3;
const goal = 0.9;

/**
 * Measures requests per second of one worker without a rate: through the whole replay, from the queue to the ledger, and by a
 * plain loop over undici with the same requests and connections. The two take turns; the results are medians of all rounds.
 * Once to a shadow in Node, which has about as much work as the worker, and once to HAProxy, whose own answers cost little.
 */
export async function benchReplay(): Promise<Row[]> {
  return [
    ...toRows("Node", await withNode((shadow) => run(shadow, ["replay", "request", "dispatch"]))),
    ...toRows("HAProxy", await withHaproxy((shadow) => run(shadow, ["replay", "request", "dispatch"]))),
  ];
}

function toRows(shadow: string, { replay, request, dispatch }: Record<string, Round>): Row[] {
  return [
    { what: `to ${shadow}: replay, from queue to ledger`, value: inWords(replay) },
    {
      what: `to ${shadow}: undici's request, body read`,
      value: `${inWords(request)}; replay is ${ratio(replay, request)} of it, goal ≥ ${goal}`,
    },
    {
      what: `to ${shadow}: undici's dispatch, answer dropped`,
      value: `${inWords(dispatch)}; replay is ${ratio(replay, dispatch)} of it`,
    },
  ];
}

/** Profiles the CPU time of the replay. */
export async function profileReplay(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  try {
    await withHaproxy((shadow) =>
      run(shadow, ["replay"], profiledRounds, ["--cpu-prof", `--cpu-prof-dir=${directory}`]),
    );
    return summarizeProfiles(readdirSync(directory).map((file) => readFileSync(join(directory, file), "utf8")));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function run(
  shadow: string,
  ways: readonly string[],
  count = rounds,
  flags: readonly string[] = [],
): Promise<Record<string, Round>> {
  const script = join(import.meta.dirname, "replay-rounds.ts");
  const args = [...flags, script, shadow, String(count), ways.join(",")];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const all = JSON.parse(stdout) as Record<string, Round[]>;
  return Object.fromEntries(Object.entries(all).map(([way, results]) => [way, median(results)]));
}

async function withNode<T>(work: (shadow: string) => Promise<T>): Promise<T> {
  const [port] = await freePorts(1);
  const node = spawn(process.execPath, [join(import.meta.dirname, "plain-shadow.ts"), String(port)]);
  const exited = once(node, "exit");
  try {
    return await work(await answering(port));
  } finally {
    node.kill("SIGTERM");
    await exited;
  }
}

async function withHaproxy<T>(work: (shadow: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  const [port] = await freePorts(1);
  const configFile = join(directory, "shadow.cfg");
  writeFileSync(configFile, shadowConfig(port));
  const program = findHaproxy(process.env.PATH ?? "");
  const haproxy = new HaproxyProcess({ program, configFile, variables: {}, onOutput: () => {} });
  try {
    return await work(await answering(port));
  } finally {
    await haproxy.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function answering(port: number): Promise<string> {
  const shadow = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(shadow).catch(() => undefined))?.ok === true);
  return shadow;
}

function shadowConfig(port: number): string {
  return `global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend shadow
  bind 127.0.0.1:${port}
  option http-buffer-request
  http-request return status 200 content-type application/json string "{}"
`;
}

function median(results: readonly Round[]): Round {
  const middle = (pick: (round: Round) => number): number =>
    results.map(pick).sort((a, b) => a - b)[Math.floor(results.length / 2)];
  return { perSecond: middle(({ perSecond }) => perSecond), cpuUsEach: middle(({ cpuUsEach }) => cpuUsEach) };
}

function ratio(result: Round, reference: Round): string {
  return (result.perSecond / reference.perSecond).toFixed(2);
}

function inWords({ perSecond, cpuUsEach }: Round): string {
  return `${Math.round(perSecond).toLocaleString("en-US")} requests/s, ${cpuUsEach.toFixed(1)} µs CPU each`;
}
