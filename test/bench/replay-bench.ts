import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findHaproxy, HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { freePorts } from "../support/free-ports.ts";
import { until } from "../support/until.ts";
import { summarizeProfiles } from "./cpu-profile.ts";
import type { Round } from "./replay-rounds.ts";
import type { Row } from "./table.ts";

const rounds = 7;
const profiledRounds = 3;
const goal = 0.9;

/**
 * Requests a second of one worker without a rate: through the whole replay, from the queue to the ledger, and by a bare loop
 * over undici with the same requests and connections; taken in turns, the medians of all rounds.
 */
export async function benchReplay(): Promise<Row[]> {
  return withShadow(async (shadow) => {
    const { replay, request, dispatch } = await run(shadow, ["replay", "request", "dispatch"]);
    return [
      { what: "replay: queue, pack, transport, ledger", value: inWords(replay) },
      { what: "undici: request, body read", value: `${inWords(request)}; replay is ${ratio(replay, request)} of it` },
      {
        what: "undici: dispatch, answer dropped",
        value: `${inWords(dispatch)}; replay is ${ratio(replay, dispatch)} of it, goal ≥ ${goal}`,
      },
    ];
  });
}

/** Where the time of the replay goes. */
export async function profileReplay(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  try {
    await withShadow((shadow) =>
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

/** HAProxy answers by itself: faster than any server in Node, so that it is not what is measured. */
async function withShadow<T>(work: (shadow: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
  const [port] = await freePorts(1);
  const configFile = join(directory, "shadow.cfg");
  writeFileSync(configFile, shadowConfig(port));
  const program = findHaproxy(process.env.PATH ?? "");
  const haproxy = new HaproxyProcess({ program, configFile, variables: {}, onOutput: () => {} });
  const shadow = `http://127.0.0.1:${port}`;
  try {
    await until(async () => (await fetch(shadow).catch(() => undefined))?.ok === true);
    return await work(shadow);
  } finally {
    await haproxy.stop();
    rmSync(directory, { recursive: true, force: true });
  }
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
