import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { ListenAddress } from "../config/forms.ts";
import { fetchAdmin, formatAddress } from "../control/admin-client.ts";
import type { FiguresAnswer, Percentiles, TargetAnswer } from "../control/answers.ts";
import type { ControlClient } from "../control/client.ts";
import type { AgentStats } from "../stats/agent-stats.ts";
import type { HostStats } from "../stats/host-stats.ts";
import { addsUp, formatEquations, toEquations } from "../stats/ledger-equations.ts";
import { isWaiting, warningsOf } from "../stats/warnings.ts";
import { type ConfigFlag, formatTable, print, withConfig } from "./command-line.ts";
import { withControl } from "./control.ts";
import { describeState, formatSetting } from "./targets.ts";

export function addStats(program: Command): void {
  withConfig(program.command("stats"), "print the ledger (what happened to every request) and the state of each target")
    .option("--json", "print the ledger as JSON")
    .addHelpText(
      "after",
      "\nExample: spoa-relay stats --config spoa-relay.yaml\nExit code 1: the ledger does not add up, or requests wait for a target that is no longer in the configuration.",
    )
    .action(async ({ config, json }: ConfigFlag & { json?: boolean }) =>
      withControl(config, async (client, { agent: { admin } }) => {
        const { agent, host, equations } = await readLedger(client, admin);
        const warnings = warningsOf(host);
        if (json) print(JSON.stringify({ agent: agent ?? null, host, addsUp: addsUp(equations), warnings }));
        else {
          if (!agent) print(`no agent answers on ${formatAddress(admin)}: the ledger below lacks the agent's side`);
          print(formatEquations(equations, process.stdout));
          for (const warning of agent?.warnings ?? []) print(`\nwarning: ${warning}`);
          print(`\n${await describeTargets(client)}`);
        }
        // Requests that wait for nobody are lost when the queue's retention ends: a check that runs `stats` has to fail before.
        // Dead letters alone are at rest, here as at any other target.
        if (!addsUp(equations) || warnings.some(isWaiting)) process.exitCode = 1;
      }),
    );
}

const minutes = 5;
const readings = 10;
const betweenReadingsMs = 300;
// The counts of SQS may lag by a minute.
const lagMs = 75_000;
const betweenLaggingReadingsMs = 5_000;

/**
 * Reads agent and host one after the other. Requests may move in between: a difference counts only if ten readings have it.
 * If it may come from the counts of SQS, it counts only if all readings of 75 seconds have it.
 */
async function readLedger(client: ControlClient, admin: ListenAddress) {
  const untilMs = performance.now() + lagMs;
  for (let reading = 1; ; reading++) {
    const agent = await fetchAdmin<AgentStats>(admin, "/stats");
    // An agent that has had no traffic for weeks still has the counts of its run.
    const host = await client.ledger(agent?.runs);
    const equations = toEquations(agent, host);
    const last = reading >= readings && !(isEstimated(host) && performance.now() < untilMs);
    if (addsUp(equations) || last) return { agent, host, equations };
    if (reading === readings) {
      process.stderr.write("the ledger differs from the counts of SQS, which may lag by a minute: reading again\n");
    }
    await sleep(reading < readings ? betweenReadingsMs : betweenLaggingReadingsMs);
  }
}

/** Whether a queue reports only the estimate of SQS. */
function isEstimated({ ingress, targets, removed = {} }: HostStats): boolean {
  const queues = [...Object.values(targets), ...Object.values(removed)];
  const counts = [ingress.waiting, ...queues.flatMap(({ inQueue, inDeadLetters }) => [inQueue, inDeadLetters])];
  return counts.includes(undefined) && [ingress, ...queues].every(({ problem }) => problem === undefined);
}

async function describeTargets(client: ControlClient): Promise<string> {
  const targets = await client.targets();
  const figures = await Promise.all(targets.map(({ name }) => client.figures(name, minutes)));
  const names = [
    "target",
    "rate",
    `answered in ${minutes} min`,
    "p50 / p99",
    "shadow time",
    "network",
    "age when sent",
    "state",
  ];
  const table = formatTable([names, ...targets.map((target, i) => toRow(target, figures[i]))], process.stdout);
  return [table, ...figures.flatMap(describeExpired), ...figures.flatMap(describeAnonymous)].join("\n");
}

function toRow(target: TargetAnswer, { from, until, total }: FiguresAnswer): readonly string[] {
  const answered = Object.values(total.answered).reduce((sum, count) => sum + count, 0);
  const seconds = (Date.parse(until) - Date.parse(from)) / 1_000;
  return [
    target.name,
    formatSetting(target.rate),
    `${answered} (${Number((answered / seconds).toPrecision(3))}/s)`,
    formatTimes(total.latencyMs),
    formatTimes(total.shadowMs),
    formatTimes(total.networkMs),
    formatTimes(total.ageMs),
    describeState(target),
  ];
}

function describeExpired({ target, total: { expiredCredentials, answered } }: FiguresAnswer): readonly string[] {
  if (expiredCredentials === 0) return [];
  const share = `${expiredCredentials} of ${answered["4xx"]} answers with 4xx`;
  return [`${target}: ${share} are 401 or 403 for captured credentials; set token, sign or headers.set of the target`];
}

function describeAnonymous({ target, total: { withoutCredentials = 0 } }: FiguresAnswer): readonly string[] {
  if (withoutCredentials === 0) return [];
  const sent = `${withoutCredentials} answered requests were sent without its credentials, because the client had none or the primary refused them`;
  return [
    `${target}: ${sent}; credentials: { for: all } gives them to every request, and clients without credentials then act as the relay on the shadow`,
  ];
}

function formatTimes(times: Percentiles | undefined): string {
  return times ? `${formatMs(times.p50)} / ${formatMs(times.p99)}` : "–";
}

function formatMs(ms: number): string {
  const [unit, unitMs] = units.find(([, least]) => ms >= least) ?? ["ms", 1];
  return `${Number((ms / unitMs).toPrecision(3))} ${unit}`;
}

// Replayed requests may be weeks old.
const units: readonly (readonly [unit: string, ms: number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];
