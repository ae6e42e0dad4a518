import type { Config } from "../../relay/config/config.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { toAlarms } from "../alarm-layout.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout, StackLayout } from "../layout.ts";
import { agentPolicyName } from "../permissions.ts";
import type { Estimate } from "./estimate.ts";
import { count, pricedMonth, pricedRegion, usd } from "./prices.ts";

/** What a deployment would make, in words: a paragraph for each stack. */
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

/** What that costs in a month, by service. */
export function toEstimateText({ lines, totalUsd, requests, notes }: Estimate, layout: Layout, rate: string): string {
  const costs = lines.map(({ what, amount, usd: sum }) => [what, amount, usd(sum)]);
  const elsewhere = [...new Set(layout.stacks.map(({ region }) => region))].filter((region) => region !== pricedRegion);
  const regions = elsewhere.length > 0 ? ` Prices in ${elsewhere.join(", ")} differ, mostly by up to a quarter.` : "";
  return [
    `A month with ${rate} of clients around the clock, ${count(requests)} requests of 1.2 kB mirrored, costs about ${usd(totalUsd)}:`,
    ...align([...costs, ["in all", "", usd(totalUsd)]]),
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
    `${owner === ingressQueue ? "packs of the agents" : `packs for ${owner}`}; ${deadLetters.name} for dead letters`,
  ]);
}

function functionsOf({ functions }: StackLayout, config: Config): readonly Row[] {
  return functions.map((one) => ["function", one.name, `${toPurpose(one, config)}; ${one.memoryMb} MB`]);
}

function toPurpose({ kind, target: name, reads, vpc }: FunctionLayout, { targets }: Config): string {
  const atOnce = reads ? `, ${reads.maxConcurrency} at once` : "";
  switch (kind) {
    case "fanout":
      return `writes each target's share to its queue${atOnce}`;
    case "replay": {
      const target = targets.find((one) => one.name === name);
      return `sends to ${target?.url.origin}, ${toRateText(target?.ratePerSecond)}${vpc ? ", in your network" : ""}${atOnce}`;
    }
    case "schedule":
      return "each minute: windows, replay jobs, captures";
    case "control":
      return "the control API, at a function URL for signed requests";
  }
}

function toRateText(perSecond = 0): string {
  if (perSecond === Number.POSITIVE_INFINITY) return "as fast as it answers";
  return `at most ${perSecond < 1 ? `${count(perSecond * 3_600)}/h` : `${count(perSecond)}/s`}`;
}

function bucketsOf({ buckets }: StackLayout): readonly Row[] {
  return buckets.map(({ name, captures }) => [
    "bucket",
    name,
    captures.map((capture) => `${capture.name} under ${capture.prefix} for ${capture.keepDays} d`).join("; "),
  ]);
}

function tableOf({ table }: StackLayout): readonly Row[] {
  return table ? [["table", table.name, "rates, jobs and the ledger; restorable to any second of 35 days"]] : [];
}

function policyOf({ queues }: StackLayout): readonly Row[] {
  return queues
    .filter(({ owner }) => owner === ingressQueue)
    .map((queue) => [
      "policy",
      agentPolicyName(queue),
      `for the role of the agents: sending to ${queue.name}, and nothing else`,
    ]);
}

function alarmsOf(stack: StackLayout, layout: Layout, config: Config): readonly Row[] {
  const alarms = toAlarms(stack, layout, config);
  const { email } = config.deployment.alarms;
  const told = email === undefined ? "in the console only, without aws.alarms.email" : `by mail to ${email}`;
  return alarms.length > 0 ? [["alarms", String(alarms.length), `${told}; what to do is in infra/RUNBOOK.md`]] : [];
}

/** Columns as wide as their longest text; one that holds sums to the right. */
function align(rows: readonly Row[]): readonly string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const pad = (text: string, column: number): string =>
    text.startsWith("$") ? text.padStart(widths[column]) : text.padEnd(widths[column]);
  return rows.map((row) => `  ${row.map(pad).join("  ").trimEnd()}`);
}
