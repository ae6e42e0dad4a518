import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { addsUp, formatEquations, toEquations } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Traffic } from "../support/processes/traffic.ts";
import { MemoryWatch } from "./memory-watch.ts";
import { SpopSource } from "./spop-source.ts";
import { Stage, targets } from "./stage.ts";
import { type Mood, moodAt } from "./timetable.ts";

const help = `Usage: npm run soak -- [options]

Mirrors traffic through agent, SQS and hosts (emulators of AWS) to two shadows. One of them fails, is busy, hangs, refuses
connections and recovers. Then checks that the ledger accounts for every request and that memory has not grown.

  --seconds N    how long requests are sent (default: 600); memory is only judged from 120 s on
  --rate N       requests per second (default: 2000)

Example: npm run soak -- --seconds 30
Exit codes: 0 all checks passed, 1 a check failed, 2 wrong argument
`;

const seed = 5;
const connections = 8;
const lineEveryMs = 30_000;
// Enough for a target to catch up after an outage, and for requests with a delay of a minute.
const settledWithinMs = 300_000;

async function soak(seconds: number, ratePerSecond: number): Promise<string[]> {
  const stage = await Stage.start(seconds * ratePerSecond);
  const startMs = performance.now();
  const memory = new MemoryWatch(stage.pids);
  const source = await SpopSource.connect(stage.agentPort, connections, new Traffic(seed));
  let mood: Mood = "answers";
  const look = setInterval(() => {
    mood = moodAt((performance.now() - startMs) / 1_000 / seconds);
    stage.setMood(mood);
    memory.sample();
  }, 1_000);
  const report = async () => {
    const values = [elapsed(startMs), mood, source.sent, ...toValues(await stage.hostStats()), ...toMemory(memory)];
    console.log(values.map((value, i) => String(value).padStart(columns[i].length)).join("  "));
  };
  console.log(columns.join("  "));
  const everyMs = Math.min(lineEveryMs, (seconds * 1_000) / 10);
  const lines = setInterval(() => report().catch(() => console.log("the host does not answer")), everyMs);
  try {
    await source.send(ratePerSecond, seconds);
    clearInterval(look);
    stage.setMood("answers");
    await settled(stage);
    await report();
    return await judge(stage, source, memory);
  } finally {
    clearInterval(look);
    clearInterval(lines);
    source.close();
    await stage.stop();
  }
}

/** Resolves when nothing waits anywhere, or after five minutes: the ledger then shows what still waits. */
async function settled(stage: Stage): Promise<void> {
  const isSettled = async (): Promise<boolean> => {
    await sleep(500);
    const { pending } = await stage.agentStats();
    const { ingress, targets: all } = await stage.hostStats();
    return pending === 0 && ingress.messages === 0 && Object.values(all).every(({ messages }) => messages === 0);
  };
  await until(isSettled, settledWithinMs).catch(() => {});
}

/** One text for each check that fails. */
async function judge(stage: Stage, source: SpopSource, memory: MemoryWatch): Promise<string[]> {
  const [agent, host] = [await stage.agentStats(), await stage.hostStats()];
  const equations = toEquations(agent, host);
  console.log(`\n${formatEquations(equations, process.stdout)}\n`);
  const mistakes = [...(addsUp(equations) ? [] : ["the ledger does not add up"]), ...memory.mistakes()];
  const expectEqual = (what: string, is: number, wanted: number) => {
    if (is !== wanted) mistakes.push(`${what}: ${is} instead of ${wanted}`);
  };
  const { sent } = source;
  expectEqual("acknowledged", source.acknowledged, sent);
  expectEqual("seen by the agent", agent.seen, sent);
  expectEqual("enqueued", agent.enqueued, sent);
  for (const name of targets) {
    const { enqueued, fates, messages } = host.targets[name];
    const shadow = await stage.shadowReport(name);
    const dead = await stage.countDeadRequests(name);
    const answered = fates["answered.2xx"] + fates["answered.5xx"];
    console.log(`${name}: ${shadow.answers} answers to ${shadow.requests} requests, ${dead} dead letters`);
    expectEqual(`${name}, fanned out`, enqueued, sent);
    expectEqual(`${name}, waiting`, Number(messages), 0);
    expectEqual(`${name}, answered or dead`, answered + fates.deadLettered, sent);
    expectEqual(`${name}, among the dead letters`, dead, fates.deadLettered);
    if (shadow.requests < answered)
      mistakes.push(`${name}: the ledger has ${answered} answered requests, the shadow answered ${shadow.requests}`);
  }
  expectEqual("steady, answered", host.targets.steady.fates["answered.2xx"], sent);
  return mistakes;
}

const columns = [
  "  time",
  "  mood",
  "    sent",
  "steady 2xx",
  "moody 2xx",
  "moody 5xx",
  "  dead",
  "waiting",
  "agent MB",
  "host 1 MB",
  "host 2 MB",
];

function toValues({ targets: all }: HostStats): (string | number)[] {
  const { fates, messages = 0, held } = all.moody;
  const waiting = `${messages}${held === undefined ? "" : "!"}`;
  return [all.steady.fates["answered.2xx"], fates["answered.2xx"], fates["answered.5xx"], fates.deadLettered, waiting];
}

function toMemory(memory: MemoryWatch): string[] {
  return Array.from(memory.latestMb.values(), (mb) => mb.toFixed(0));
}

function elapsed(startMs: number): string {
  return `${((performance.now() - startMs) / 1_000).toFixed(0)} s`;
}

async function main(): Promise<number> {
  let seconds: number;
  let rate: number;
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "600" },
        rate: { type: "string", default: "2000" },
        help: { type: "boolean" },
      },
    });
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    [seconds, rate] = [values.seconds, values.rate].map(Number);
    if (!(seconds >= 1 && rate >= 1)) throw new Error("--seconds and --rate must be numbers of at least 1");
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  // The SDK refuses to call an emulator without credentials.
  process.env.AWS_ACCESS_KEY_ID = "soak";
  process.env.AWS_SECRET_ACCESS_KEY = "soak";
  const mistakes = await soak(seconds, rate);
  for (const mistake of mistakes) console.log(`✗ ${mistake}`);
  if (mistakes.length === 0) console.log("✓ every request is accounted for");
  return mistakes.length === 0 ? 0 : 1;
}

process.exitCode = await main();
