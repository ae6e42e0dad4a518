import type { Config } from "../../relay/config/config.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { toAlarms } from "../alarm-layout.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { agentPolicyName } from "../permissions.ts";
import type { Estimate } from "./estimate.ts";
import { count, pricedMonth, pricedRegion, usd } from "./prices.ts";

/** The resources of a deployment, in words: a paragraph for each stack. */
export function toPlanText(config: Config, layout: Layout): string {
  const parts = layout.stacks.map((stack) => {
    const { name, account, region } = stack;
    const rows = [
      ...queuesOf(stack),
      ...functionsOf(stack, config),
      ...bucketsOf(stack),
      ...tableOf(stack),
      ...policyOf(stack),
      ...alarmsOf(stack, layout, config),
    ];
    return [`${name}, in account ${account}, ${region}:`, ...align(rows)].join("\n");
  });
  return parts.join("\n\n");
}

/** The cost of a month, by service. */
export function toEstimateText({ lines, totalUsd, requests, notes }: Estimate, layout: Layout, rate: string): string {
  const costs = lines.map(({ what, amount, usd: sum }) => [what, amount, usd(sum)]);
  const elsewhere = [...new Set(layout.stacks.map(({ region }) => region))].filter((region) => region !== pricedRegion);
  const regions = elsewhere.length > 0 ? ` Prices in ${elsewhere.join(", ")} differ, mostly by less than 25%.` : "";
  return [
    `A month at ${rate} around the clock, ${count(requests)} mirrored requests of 1.2 kB, costs about ${usd(totalUsd)}:`,
    ...align([...costs, ["total", "", usd(totalUsd)]]),
    "",
    `List prices of ${pricedRegion}, ${pricedMonth}, without the free tier.${regions}`,
    ...notes,
  ].join("\n");
}

type Row = readonly string[];

function queuesOf({ queues }: StackLayout): readonly Row[] {
  return queues.map(({ name, owner, deadLetters }) => [
    "queue",
    name,
    `${owner === ingressQueue ? "packs from the agents" : `packs for ${owner}`}; dead letters in ${deadLetters.name}`,
  ]);
}

function functionsOf({ functions }: StackLayout, config: Config): readonly Row[] {
  return functions.map((one) => ["function", one.name, `${toPurpose(one, config)}; ${one.memoryMb} MB`]);
}

function toPurpose({ kind, target: name, reads, vpc }: FunctionLayout, { targets }: Config): string {
  const atOnce = reads ? `, up to ${reads.maxConcurrency} at once` : "";
  switch (kind) {
    case "fanout":
      return `sends each target's share to its queue${atOnce}`;
    case "replay": {
      const target = targets.find((one) => one.name === name);
      return `sends to ${target?.url.origin}, ${toRateText(target?.ratePerSecond)}${vpc ? ", in your network" : ""}${atOnce}`;
    }
    case "schedule":
      return "runs each minute: switches windows, feeds replay jobs, merges captures";
    case "control":
      return "the control API, at a function URL that requires signed requests";
  }
}

function toRateText(perSecond = 0): string {
  if (perSecond === Number.POSITIVE_INFINITY) return "as fast as the shadow answers";
  return `at most ${perSecond < 1 ? `${count(perSecond * 3_600)}/h` : `${count(perSecond)}/s`}`;
}

function bucketsOf({ buckets }: StackLayout): readonly Row[] {
  return buckets.map(({ name, captures }) => [
    "bucket",
    name,
    captures.map((capture) => `capture ${capture.name} under ${capture.prefix}, kept ${capture.keepDays} d`).join("; "),
  ]);
}

function tableOf({ table }: StackLayout): readonly Row[] {
  return table
    ? [["table", table.name, "rates, jobs and the ledger; can be restored to any second of the last 35 days"]]
    : [];
}

function policyOf({ queues }: StackLayout): readonly Row[] {
  return queues
    .filter(({ owner }) => owner === ingressQueue)
    .map((queue) => [
      "policy",
      agentPolicyName(queue),
      `for the role of the agents: allows sending to ${queue.name}, nothing else`,
    ]);
}

function alarmsOf(stack: StackLayout, layout: Layout, config: Config): readonly Row[] {
  const alarms = toAlarms(stack, layout, config);
  const { email } = config.deployment.alarms;
  const notice = email === undefined ? "in the console only: set aws.alarms.email for mails" : `by mail to ${email}`;
  return alarms.length > 0 ? [["alarms", String(alarms.length), `${notice}; infra/RUNBOOK.md says what to do`]] : [];
}

/** Pads each column to its longest text; amounts of money are aligned to the right. */
function align(rows: readonly Row[]): readonly string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const pad = (text: string, column: number): string =>
    text.startsWith("$") ? text.padStart(widths[column]) : text.padEnd(widths[column]);
  return rows.map((row) => `  ${row.map(pad).join("  ").trimEnd()}`);
}
