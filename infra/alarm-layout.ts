import type { Config, TargetConfig } from "../relay/config/config.ts";
import { ingressQueue } from "../relay/queue/names.ts";
import { type AlarmLayout, fiveMinutesSeconds, minuteSeconds, once, twiceOfThree } from "./alarm.ts";
import { toCostParts } from "./estimate/daily-cost.ts";
import { pricedMonth, pricedRegion, usd } from "./estimate/prices.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, StackLayout } from "./layout.ts";
import type { QueueLayout } from "./queue-layout.ts";
import { toStateAlarms, toTableAlarms } from "./state-alarms.ts";
import { ofFunction, ofQueue, ofRelay } from "./watched-metric.ts";

const hourSeconds = 3_600;
const daySeconds = 86_400;
// The fan-out has no rate and no window: packs wait for it only if something is broken.
const ingressWaitSeconds = 15 * minuteSeconds;
// For a target without windows: it is paused, or its rate is lower than its traffic.
const targetWaitSeconds = hourSeconds;
// For a target with windows or blackouts: two days before the requests expire.
const windowWaitSeconds = 5 * daySeconds;
/** CloudWatch allows ten metrics in an alarm. */
const mostMetrics = 10;

/** The alarms of a stack: about its queues and functions, and about the metrics that its functions write. */
export function toAlarms(stack: StackLayout, layout: Layout, config: Config): readonly AlarmLayout[] {
  return [
    ...stack.queues.flatMap((queue) => [toDeadLetters(queue, layout), toPacksWait(queue, layout, config)]),
    ...stack.queues.filter(({ owner }) => owner === ingressQueue).map((queue) => toAgentSilent(queue, config)),
    ...stack.functions.flatMap((one) => [toErrors(one), toThrottled(one), ...toStateAlarms(one, layout)]),
    ...(stack.table ? toTableAlarms(stack.table) : []),
    ...stack.functions.filter(({ kind }) => kind === "schedule").flatMap((one) => toScheduled(one, layout, config)),
    ...toDailyCosts(stack, layout, config),
  ];
}

/** The name of an alarm, unique in its region and account. */
export function alarmName({ name }: Layout, { id }: AlarmLayout): string {
  return `${name}-${id}`;
}

/** True also for the ingress queue if a target reads it directly: the dead letters are then those of that target. */
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
      ? `Requests in ${deadLetters.name} could not be delivered: SQS deletes them after 14 days.`
      : `Packs in ${deadLetters.name} could not be fanned out: targets and captures miss their requests.`,
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
    says: `Packs have waited in ${queue.name} for more than ${inWords(threshold)}: ${endOf(target)}.`,
    watches: ofQueue(queue, "ApproximateAgeOfOldestMessage", "Maximum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold,
    times: twiceOfThree,
    silence: "good",
  };
}

/** What becomes of packs that wait for too long. */
function endOf(target: TargetConfig | undefined): string {
  return target ? "their requests expire after 7 days" : "SQS deletes them after 14 days";
}

function toAgentSilent(queue: QueueLayout, { deployment }: Config): AlarmLayout {
  const periodSeconds = Math.ceil(deployment.alarms.silentAfterMs / 60_000) * minuteSeconds;
  return {
    id: "AgentSilent",
    section: "agentSilent",
    says: `No agent has sent anything to ${queue.name} for ${inWords(periodSeconds)}: nothing is mirrored.`,
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
    says: `Invocations of ${one.name} fail: ${consequenceOf(one)}.`,
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
    says: `Lambda throttles ${one.name}: the concurrency of the account is used up, and ${consequenceOf(one)}.`,
    watches: ofFunction(one, "Throttles", "Sum"),
    periodSeconds: fiveMinutesSeconds,
    rings: "above",
    threshold: 0,
    times: twiceOfThree,
    silence: "good",
  };
}

/** What follows while the function is not run or fails. */
function consequenceOf({ kind, target }: FunctionLayout): string {
  switch (kind) {
    case "fanout":
      return "packs wait in the ingress queue";
    case "replay":
      return `requests to ${target} wait`;
    case "schedule":
      return "windows, replay jobs or captures are late";
    case "control":
      return "spoa-relay commands fail";
  }
}

function toId({ kind, target }: FunctionLayout): string {
  return target === undefined ? kind : `${kind}-${target}`;
}

/** Alarms about the schedule and about the metrics that it writes each minute. */
function toScheduled(
  schedule: FunctionLayout,
  { name }: Layout,
  { targets, captures }: Config,
): readonly AlarmLayout[] {
  // Eight of ten: a minute has no value if the schedule was late.
  const tenMinutes = { periodSeconds: minuteSeconds, times: { least: 8, of: 10 } };
  const ringsAboveZero = { ...tenMinutes, rings: "above", threshold: 0, silence: "good" } as const;
  const stopped: AlarmLayout = {
    id: "ScheduleStopped",
    section: "scheduleStopped",
    says: `${schedule.name} has not run for ten minutes: replay jobs stop, windows do not open, captures are not merged.`,
    watches: ofFunction(schedule, "Invocations", "Sum"),
    periodSeconds: 2 * fiveMinutesSeconds,
    rings: "below",
    threshold: 1,
    times: once,
    silence: "bad",
  };
  const breakers = targets.map(
    (target): AlarmLayout => ({
      ...ringsAboveZero,
      id: `BreakerOpen-${target.name}`,
      section: "breakerOpen",
      says: `The breaker of ${target.name} is open: its shadow fails, and its requests wait.`,
      watches: ofRelay(name, "breakerOpen", "Maximum", target.name),
    }),
  );
  const waiting: AlarmLayout = {
    ...ringsAboveZero,
    id: "CaptureWaits",
    section: "captureWaits",
    says: "Requests wait for a capture whose bucket does not accept them: they are given up after 7 days.",
    watches: ofRelay(name, "waitingForCapture", "Maximum"),
  };
  return [stopped, ...breakers, ...(captures.length > 0 ? [waiting] : [])];
}

/** One alarm, or several if the cost has more than ten parts: each then has some of the parts and the whole threshold. */
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
    says: `SQS, Lambda and DynamoDB cost more than ${usd(dailyCostUsd)} a day in ${stack.region}, at the list prices of ${pricedRegion}, ${pricedMonth}.`,
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
