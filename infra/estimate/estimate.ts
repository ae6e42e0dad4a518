import type { Config } from "../../relay/config/config.ts";
import { functionMetrics } from "../../relay/deployed/metrics.ts";
import { toAlarms } from "../alarm-layout.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import { capacityOf } from "../worker-count.ts";
import { type Feed, secondsOfRequest, toFanOutUnits, toFeed, toFeedUnits } from "./feed.ts";
import { count, prices, usd } from "./prices.ts";
import { batchesPerSecond, billedUnits, type Flow, packedBytes, requestBytes, toFlow, toShare } from "./traffic.ts";

/** The cost of a month, and notes about what it leaves out or what will not work. */
export interface Estimate {
  readonly lines: readonly CostLine[];
  readonly totalUsd: number;
  /** Requests of clients that are mirrored in a month. */
  readonly requests: number;
  /** Costs that are not in the sum, and settings that will not work. */
  readonly notes: readonly string[];
}

interface CostLine {
  readonly what: string;
  /** The number of units, in words. */
  readonly amount: string;
  readonly usd: number;
}

/** 730 hours: a month in AWS's price lists. */
export const monthSeconds = 730 * 3_600;
const minutesAMonth = monthSeconds / 60;
const gb = 1e9;

// Lambda reads a queue with five long polls of 20 s at a time, even if the queue is empty.
const pollsAMonth = 900 * 730;
const writeBytes = 1_000;
// Upper bound for the rates, the ledger and the pack numbers of a month.
const tableGb = 1;
// Time of an invocation besides sending: calls to the table and to queues in other regions, and its share of cold starts.
const overheadSeconds = 0.2;
const fanOutSecondsAPack = 0.01;
const scheduleSeconds = 1;
const mergeSeconds = 5;
const logBytesAnInvocation = 1_500;
// Lambda's default quota for an account and region.
const accountConcurrency = 1_000;

/**
 * The cost of a month in which `ratePerSecond` requests a second are mirrored around the clock, at `prices`. How many requests
 * a target's `when` matches is unknown: the estimate assumes all, an upper bound.
 */
export function toEstimate(config: Config, layout: Layout, ratePerSecond: number): Estimate {
  const ingress = toFlow(ratePerSecond, config.agent);
  const feeds = config.targets.map((target) => toFeed(target, layout, ingress));
  const functions = layout.stacks.flatMap((stack) => stack.functions);
  const fanOut = functions.find(({ kind }) => kind === "fanout");
  const lines = [
    toQueueLine(feeds, ingress, fanOut !== undefined),
    ...(fanOut ? [toFanOutLine(fanOut, ingress)] : []),
    ...feeds.map(toReplayLine),
    toScheduleLine(config, layout),
    toTableLine(config, feeds, ingress),
    ...config.captures.map((capture) => toCaptureLine(capture, toShare(ingress, capture.sample.fraction))),
    toRegionsLine(feeds, layout, config, ingress),
    toLogLine(feeds, ingress, fanOut !== undefined),
    toMetricLine(feeds),
    toWatchLine(config, layout),
    ...toKeyLines(config, layout),
  ].filter(({ usd }) => usd > 0);
  return {
    lines,
    totalUsd: lines.reduce((sum, { usd }) => sum + usd, 0),
    requests: ingress.requestsPerSecond * monthSeconds,
    notes: [
      ...feeds.flatMap(toRateNote),
      ...feeds.flatMap(toCapacityNote),
      ...toAccountNotes(layout),
      ...(feeds.length > 0 ? [toInternetNote(feeds)] : []),
    ],
  };
}

function toQueueLine(feeds: readonly Feed[], ingress: Flow, fansOut: boolean): CostLine {
  const flows = [ingress, ...(fansOut ? feeds.map(({ flow }) => flow) : [])];
  const requests = flows.reduce(
    (sum, flow) => sum + (2 * billedUnits(flow) + batchesPerSecond(flow)) * monthSeconds + pollsAMonth,
    0,
  );
  return { what: "SQS", amount: `${count(requests)} requests`, usd: requests * prices.sqsRequest };
}

function toFanOutLine(fanOut: FunctionLayout, ingress: Flow): CostLine {
  const batches = batchesPerSecond(ingress);
  return toLambdaLine(
    "Lambda, fan-out",
    fanOut,
    batches,
    batches * overheadSeconds + ingress.packsPerSecond * fanOutSecondsAPack,
  );
}

function toReplayLine({ target, replay, flow, sentPerSecond }: Feed): CostLine {
  const { ratePerSecond } = target;
  const batches = batchesPerSecond(flow);
  const busy = batches * overheadSeconds + sentPerSecond * secondsOfRequest(target);
  const most = replay.reads?.maxConcurrency ?? 1;
  // If requests arrive faster than the rate, all functions wait for slots all of the time.
  const overrun = flow.requestsPerSecond > ratePerSecond;
  return toLambdaLine(`Lambda, replay to ${target.name}`, replay, batches, overrun ? most : Math.min(most, busy));
}

function toScheduleLine({ captures }: Config, { stacks }: Layout): CostLine {
  const schedule = stacks.flatMap(({ functions }) => functions).find(({ kind }) => kind === "schedule");
  const { memoryMb = 0 } = schedule ?? {};
  const seconds = captures.length > 0 ? mergeSeconds : scheduleSeconds;
  const line = toLambdaLine("Lambda, schedule", { memoryMb }, 1 / 60, seconds / 60);
  return { ...line, usd: line.usd + minutesAMonth * prices.schedulerInvocation };
}

/** @param busy average number of functions that run at once */
function toLambdaLine(what: string, { memoryMb }: { readonly memoryMb: number }, perSecond: number, busy: number) {
  const invocations = perSecond * monthSeconds;
  const gbSeconds = busy * monthSeconds * (memoryMb / 1_024);
  return {
    what,
    amount: `${count(invocations)} invocations, ${count(gbSeconds)} GB-seconds`,
    usd: invocations * prices.lambdaInvocation + gbSeconds * prices.lambdaGbSecond,
  };
}

function toTableLine({ captures, targets }: Config, feeds: readonly Feed[], ingress: Flow): CostLine {
  const names = captures.length + targets.length;
  const units = [toFanOutUnits(ingress, names), ...feeds.map((feed) => toFeedUnits(feed, names))];
  const writes = units.reduce((sum, { writesPerSecond }) => sum + writesPerSecond, 0) * monthSeconds;
  const reads = units.reduce((sum, { readsPerSecond }) => sum + readsPerSecond, 0) * monthSeconds;
  return {
    what: "DynamoDB",
    amount: `${count(writes)} writes, ${count(reads)} reads, up to ${tableGb} GB with point-in-time recovery`,
    usd: writes * prices.dynamoDbWrite + reads * prices.dynamoDbRead + tableGb * prices.dynamoDbGbMonth,
  };
}

function toCaptureLine({ name, keepMs }: Config["captures"][number], flow: Flow): CostLine {
  // One object for each batch; the schedule reads it once, to merge it with the other objects of its minute.
  const objects = batchesPerSecond(flow) * monthSeconds;
  const writes = objects + 2 * minutesAMonth;
  const gbKept = packedBytes(flow.requestsPerSecond * (keepMs / 1_000)) / gb;
  return {
    what: `S3, capture ${name}`,
    amount: `${count(writes)} writes, ${count(gbKept)} GB kept`,
    usd: writes * prices.s3Write + objects * prices.s3Read + gbKept * prices.s3GbMonth,
  };
}

/** Traffic between regions: packs to queues and buckets in other regions, and calls to the table from functions there. */
function toRegionsLine(
  feeds: readonly Feed[],
  { stacks }: Layout,
  { captures, targets }: Config,
  ingress: Flow,
): CostLine {
  const [{ region: home }] = stacks;
  const tableRegion = stacks.find(({ table }) => table)?.region;
  const elsewhere = new Set(
    stacks
      .filter(({ region }) => region !== home)
      .flatMap(({ buckets }) => buckets.flatMap((bucket) => bucket.captures)),
  );
  const names = new Set([...elsewhere].map(({ name }) => name));
  const packs = [
    ...feeds.filter(({ replay }) => replay.region !== home).map(({ flow }) => flow),
    ...captures.filter(({ name }) => names.has(name)).map(({ sample }) => toShare(ingress, sample.fraction)),
  ];
  const units = feeds
    .filter(({ replay }) => replay.region !== tableRegion)
    .map((feed) => toFeedUnits(feed, captures.length + targets.length));
  const bytesPerSecond =
    packs.reduce((sum, flow) => sum + packedBytes(flow.requestsPerSecond), 0) +
    units.reduce((sum, { writesPerSecond }) => sum + writesPerSecond * writeBytes, 0);
  const gbMonth = (bytesPerSecond * monthSeconds) / gb;
  return { what: "Between regions", amount: `${count(gbMonth)} GB`, usd: gbMonth * prices.otherRegionGb };
}

function toLogLine(feeds: readonly Feed[], ingress: Flow, fansOut: boolean): CostLine {
  const batches = feeds.reduce(
    (sum, { flow }) => sum + batchesPerSecond(flow),
    fansOut ? batchesPerSecond(ingress) : 0,
  );
  const gbMonth = ((batches * monthSeconds + minutesAMonth) * logBytesAnInvocation) / gb;
  return { what: "CloudWatch, logs", amount: `${count(gbMonth)} GB`, usd: gbMonth * prices.logsGb };
}

/** An upper bound: a metric is billed only for the hours in which it has values. */
function toMetricLine(feeds: readonly Feed[]): CostLine {
  const all = Object.values(functionMetrics);
  const ofTarget = all.filter(({ by }) => by === "target").length;
  const metrics = all.length - ofTarget + ofTarget * feeds.length;
  return { what: "CloudWatch, metrics", amount: `up to ${metrics}`, usd: metrics * prices.metricMonth };
}

/** An alarm is billed for each metric that it reads; each account has one dashboard. */
function toWatchLine(config: Config, layout: Layout): CostLine {
  const alarms = layout.stacks.flatMap((stack) => toAlarms(stack, layout, config));
  const watched = alarms.reduce((sum, { watches }) => sum + (Array.isArray(watches) ? watches.length : 1), 0);
  const boards = new Set(layout.stacks.map(({ account }) => account)).size;
  return {
    what: "CloudWatch, alarms",
    amount: `${plural(alarms.length, "alarm")} and ${plural(boards, "dashboard")}`,
    usd: watched * prices.alarmMonth + boards * prices.dashboardMonth,
  };
}

function toKeyLines({ deployment: { key, alarms } }: Config, { stacks }: Layout): readonly CostLine[] {
  // The topic of the alarms' mails needs a key of this stack: it cannot use one that was made elsewhere.
  if (key !== "own" && alarms.email === undefined) return [];
  return [{ what: "KMS", amount: plural(stacks.length, "key"), usd: stacks.length * prices.keyMonth }];
}

function toRateNote({ target: { name, ratePerSecond }, flow: { requestsPerSecond } }: Feed): readonly string[] {
  if (requestsPerSecond <= ratePerSecond) return [];
  return [
    `targets.${name}: up to ${count(requestsPerSecond)} requests a second arrive for it, but its rate is ${count(ratePerSecond)}/s: its queue grows until requests expire after 7 days. Give it a sample or a higher rate.`,
  ];
}

function toCapacityNote({ target, replay }: Feed): readonly string[] {
  const { name, ratePerSecond, concurrency } = target;
  const workers = replay.reads?.maxConcurrency ?? 1;
  const capacity = capacityOf(target, workers);
  if (ratePerSecond === Number.POSITIVE_INFINITY || capacity >= ratePerSecond) return [];
  const advice =
    capacityOf({ concurrency: concurrency + 1 }, workers) > capacity
      ? `Give it a concurrency above ${concurrency}.`
      : "Divide the requests among several targets.";
  return [
    `targets.${name}: ${count(workers)} functions, the most that Lambda runs for a queue, send ${count(capacity)} requests a second if the shadow takes a second to answer, and its rate is ${count(ratePerSecond)}/s. ${advice}`,
  ];
}

/** A note for each account and region whose functions may need more than Lambda runs at once. */
function toAccountNotes({ stacks }: Layout): readonly string[] {
  const places = Map.groupBy(
    stacks.flatMap(({ functions }) => functions),
    ({ account, region }) => `account ${account}, ${region}`,
  );
  return Array.from(places, ([place, functions]) => {
    const atOnce = functions.reduce((sum, { reads }) => sum + (reads?.maxConcurrency ?? 1), 0);
    return atOnce <= accountConcurrency
      ? []
      : [
          `${place}: up to ${count(atOnce)} functions run at once, and Lambda runs ${count(accountConcurrency)} in an account and region unless its quota "Concurrent executions" is raised, all functions of the account together. With fewer, rates may not be reached.`,
        ];
  }).flat();
}

function toInternetNote(feeds: readonly Feed[]): string {
  const gbMonth = feeds.reduce((sum, { sentPerSecond }) => sum + (sentPerSecond * requestBytes * monthSeconds) / gb, 0);
  return `Not included: the shadows themselves, and traffic to shadows outside AWS: ${usd(gbMonth * prices.internetGb)} for ${count(gbMonth)} GB.`;
}

function plural(number: number, unit: string): string {
  return number === 1 ? `1 ${unit}` : `${number} ${unit}s`;
}
