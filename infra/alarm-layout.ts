import type { Config } from "../relay/config/config.ts";
import { ingressQueue } from "../relay/queue/names.ts";
import { type CostPart, toCostParts } from "./estimate/daily-cost.ts";
import { pricedMonth, pricedRegion, usd } from "./estimate/prices.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, StackLayout } from "./layout.ts";
import type { QueueLayout } from "./queue-layout.ts";
import type { RunbookSection } from "./runbook.ts";
import { ofFunction, ofQueue, ofRelay, type WatchedMetric } from "./watched-metric.ts";

/** An alarm, in plain data. */
export interface AlarmLayout {
  /** Of all alarms of its stack no other has it. */
  readonly id: string;
  readonly section: RunbookSection;
  /** A sentence about what is wrong while it rings. */
  readonly says: string;
  /** What is looked at: a metric, or what its parts cost together. */
  readonly watches: WatchedMetric | readonly CostPart[];
  readonly periodSeconds: number;
  readonly rings: "above" | "below";
  readonly threshold: number;
  /** It rings when the threshold was passed in so many of the last periods. */
  readonly times: { readonly least: number; readonly of: number };
  /** What a period without any value counts as. */
  readonly silence: "good" | "bad";
}

const minuteSeconds = 60;
const fiveMinutesSeconds = 300;
const hourSeconds = 3_600;
const daySeconds = 86_400;
// Nothing holds up the fan-out but what is wrong with it.
const ingressWaitSeconds = 15 * minuteSeconds;
// Of a target that always takes requests: it is paused, or its rate is too low for what comes.
const targetWaitSeconds = hourSeconds;
// Of one that takes them at times only: two days before SQS deletes them.
const windowWaitSeconds = 5 * daySeconds;
/** What CloudWatch takes in one alarm. */
const mostMetrics = 10;

const once = { least: 1, of: 1 } as const;
const twiceOfThree = { least: 2, of: 3 } as const;

/** The alarms of a stack: of what is in it, and of metrics that its functions write. */
export function toAlarms(stack: StackLayout, layout: Layout, config: Config): readonly AlarmLayout[] {
  return [
    ...stack.queues.flatMap((queue) => [toDeadLetters(queue, layout), toPacksWait(queue, layout, config)]),
    ...stack.queues.filter(({ owner }) => owner === ingressQueue).map((queue) => toAgentSilent(queue, config)),
    ...stack.functions.flatMap((one) => [toErrors(one), toThrottled(one)]),
    ...stack.functions.filter(({ kind }) => kind === "schedule").flatMap((one) => toScheduled(one, layout, config)),
    ...toDailyCosts(stack, layout, config),
  ];
}

/** The name that an alarm has in its region and account. */
export function alarmName({ name }: Layout, { id }: AlarmLayout): string {
  return `${name}-${id}`;
}

/** The only queue of a target that takes everything has its dead letters, too. */
function isOfTarget(queue: QueueLayout, { stacks }: Layout): boolean {
  return stacks.some(({ functions }) => functions.some((one) => one.kind === "replay" && one.reads?.queue === queue));
}

function toDeadLetters(queue: QueueLayout, layout: Layout): AlarmLayout {
  const { owner, deadLetters } = queue;
  const ofTarget = isOfTarget(queue, layout);
  return {
    id: `DeadLetters-${owner}`,
    section: ofTarget ? "deadLetters" : "undecodablePacks",
    says: ofTarget
      ? `There are requests in ${deadLetters.name} that could not be delivered.`
      : `There are packs in ${deadLetters.name} that came to no target.`,
    watches: ofQueue(deadLetters, "ApproximateNumberOfMessagesVisible", "Maximum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold: 0,
    times: once,
    silence: "good",
  };
}

function toPacksWait(queue: QueueLayout, layout: Layout, { targets }: Config): AlarmLayout {
  const replays = layout.stacks.flatMap(({ functions }) => functions).filter(({ reads }) => reads?.queue === queue);
  const target = targets.find(({ name }) => replays.some((one) => one.target === name));
  const timed = target !== undefined && (target.windows.length > 0 || target.blackouts.length > 0);
  const ofTarget = timed ? windowWaitSeconds : targetWaitSeconds;
  const threshold = target === undefined ? ingressWaitSeconds : ofTarget;
  return {
    id: `PacksWait-${queue.owner}`,
    section: "packsWait",
    says: `Packs wait in ${queue.name} for more than ${inWords(threshold)}.`,
    watches: ofQueue(queue, "ApproximateAgeOfOldestMessage", "Maximum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold,
    times: twiceOfThree,
    silence: "good",
  };
}

function toAgentSilent(queue: QueueLayout, { deployment }: Config): AlarmLayout {
  const periodSeconds = Math.ceil(deployment.alarms.silentAfterMs / 60_000) * minuteSeconds;
  return {
    id: "AgentSilent",
    section: "agentSilent",
    says: `Nothing was sent to ${queue.name} for ${inWords(periodSeconds)}: nothing is mirrored.`,
    watches: ofQueue(queue, "NumberOfMessagesSent", "Sum"),
    periodSeconds,
    rings: "below",
    threshold: 1,
    times: once,
    silence: "bad",
  };
}

function toErrors(one: FunctionLayout): AlarmLayout {
  return {
    id: `Errors-${toId(one)}`,
    section: "functionErrors",
    says: `Invocations of ${one.name} fail.`,
    watches: ofFunction(one, "Errors", "Sum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold: 0,
    times: twiceOfThree,
    silence: "good",
  };
}

function toThrottled(one: FunctionLayout): AlarmLayout {
  return {
    id: `Throttled-${toId(one)}`,
    section: "functionThrottled",
    says: `${one.name} is not run as often as it should be.`,
    watches: ofFunction(one, "Throttles", "Sum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold: 0,
    times: twiceOfThree,
    silence: "good",
  };
}

function toId({ kind, target }: FunctionLayout): string {
  return target === undefined ? kind : `${kind}-${target}`;
}

/** What the schedule does, and tells of each minute. */
function toScheduled(
  schedule: FunctionLayout,
  { name }: Layout,
  { targets, captures }: Config,
): readonly AlarmLayout[] {
  // A minute may be missing, where the schedule was late.
  const tenMinutes = { periodSeconds: minuteSeconds, times: { least: 8, of: 10 } };
  const told = { ...tenMinutes, rings: "above", threshold: 0, silence: "good" } as const;
  const stopped: AlarmLayout = {
    id: "ScheduleStopped",
    section: "scheduleStopped",
    says: `${schedule.name} has not run for ten minutes.`,
    watches: ofFunction(schedule, "Invocations", "Sum"),
    periodSeconds: 2 * fiveMinutesSeconds,
    rings: "below",
    threshold: 1,
    times: once,
    silence: "bad",
  };
  const breakers = targets.map(
    (target): AlarmLayout => ({
      ...told,
      id: `BreakerOpen-${target.name}`,
      section: "breakerOpen",
      says: `The breaker of ${target.name} is open: its shadow fails, and requests wait.`,
      watches: ofRelay(name, "breakerOpen", "Maximum", target.name),
    }),
  );
  const waiting: AlarmLayout = {
    ...told,
    id: "CaptureWaits",
    section: "captureWaits",
    says: "Requests wait for a capture whose bucket does not take them.",
    watches: ofRelay(name, "waitingForCapture", "Maximum"),
  };
  return [stopped, ...breakers, ...(captures.length > 0 ? [waiting] : [])];
}

/** One, unless there is more to be added up than an alarm takes: then each has a part of it, and rings at the whole sum. */
function toDailyCosts(stack: StackLayout, layout: Layout, { deployment }: Config): readonly AlarmLayout[] {
  const { dailyCostUsd } = deployment.alarms;
  if (dailyCostUsd === undefined) return [];
  const parts = toCostParts(stack, layout);
  const groups = Array.from({ length: Math.ceil(parts.length / mostMetrics) }, (_, i) =>
    parts.slice(i * mostMetrics, (i + 1) * mostMetrics),
  );
  return groups.map((watches, i) => ({
    id: i === 0 ? "DailyCost" : `DailyCost-${i + 1}`,
    section: "dailyCost",
    says: `A day costs more than ${usd(dailyCostUsd)} in ${stack.region}, at the list prices of ${pricedRegion}, ${pricedMonth}.`,
    watches,
    periodSeconds: daySeconds,
    rings: "above",
    threshold: dailyCostUsd,
    times: once,
    silence: "good",
  }));
}

function inWords(seconds: number): string {
  if (seconds % daySeconds === 0) return plural(seconds / daySeconds, "day");
  if (seconds % hourSeconds === 0) return plural(seconds / hourSeconds, "hour");
  return plural(seconds / minuteSeconds, "minute");
}

function plural(count: number, unit: string): string {
  return count === 1 ? `1 ${unit}` : `${count} ${unit}s`;
}
