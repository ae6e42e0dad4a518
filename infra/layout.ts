import type { Config } from "../relay/config/config.ts";
import { ConfigError } from "../relay/config/text.ts";
import { ingressQueue } from "../relay/queue/names.ts";
import { isOfAws, queuePlaceOf } from "../relay/queue/sqs-url.ts";
import { tableName } from "../relay/state/dynamodb/table-place.ts";
import { type BucketLayout, toBuckets } from "./bucket-layout.ts";
import {
  type FunctionLayout,
  fanOutTimeoutSeconds,
  replayTimeoutSeconds,
  toControl,
  toFanOut,
  toReplay,
  toSchedule,
} from "./function-layout.ts";
import { isSamePlace, type Place, toArn } from "./place.ts";
import { type QueueLayout, toQueue } from "./queue-layout.ts";

/** All resources of a configuration by account and region, as plain data: the constructs turn it into CloudFormation. */
export interface Layout {
  /** The name of the ingress queue; all other names begin with it. */
  readonly name: string;
  /** One for each account and region; the stack of the ingress queue is the first. */
  readonly stacks: readonly StackLayout[];
}

export interface StackLayout extends Place {
  /** The name in CloudFormation. */
  readonly name: string;
  readonly queues: readonly QueueLayout[];
  readonly functions: readonly FunctionLayout[];
  readonly buckets: readonly BucketLayout[];
  /** Only in one stack, which also has the schedule and the control API. */
  readonly table?: TableLayout;
}

export interface TableLayout extends Place {
  readonly name: string;
  readonly arn: string;
}

/**
 * Lays out a configuration. All names and ARNs are known before anything is deployed, so stacks in different regions and
 * accounts need no outputs of each other. Throws `ConfigError` for a configuration that cannot be deployed.
 */
export function toLayout(config: Config): Layout {
  const { aws, ingress: ingressPlace, targets, captures, file } = config;
  if (ingressPlace.kind !== "sqs" || !aws) {
    throw new ConfigError([
      `${file}: a deployment to AWS needs queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME and state: dynamodb:TABLE`,
    ]);
  }
  assertOfAws(file, [
    ["queue", ingressPlace.url],
    ...Array.from(aws.targetQueues, ([target, url]) => [`targets.${target}.queue`, url] as const),
  ]);
  const { name } = queuePlaceOf(new URL(ingressPlace.url));
  const direct = targets.find((target) => !aws.targetQueues.has(target.name));
  const ingress = toQueue(ingressQueue, ingressPlace.url, direct ? replayTimeoutSeconds(direct) : fanOutTimeoutSeconds);
  const replays = targets.map((target) => {
    const url = aws.targetQueues.get(target.name);
    const queue = url === undefined ? ingress : toQueue(target.name, url, replayTimeoutSeconds(target));
    return toReplay(name, target, queue, config);
  });
  const table = toTable(aws, ingress);
  assertReachable(file, table, aws.tableAccount !== undefined, replays);
  const functions = [
    ...(direct ? [] : [toFanOut(ingress)]),
    ...replays,
    toSchedule(name, table, replays),
    toControl(name, table, replays),
  ];
  const queues = functions.flatMap(({ reads }) => (reads ? [reads.queue] : []));
  return { name, stacks: toStacks(name, { queues, functions, buckets: toBuckets(captures, ingress, file), table }) };
}

interface Parts {
  /** The ingress queue is the first. */
  readonly queues: readonly QueueLayout[];
  readonly functions: readonly FunctionLayout[];
  readonly buckets: readonly BucketLayout[];
  readonly table: TableLayout;
}

function toStacks(name: string, { queues, functions, buckets, table }: Parts): readonly StackLayout[] {
  const places = [...queues, ...buckets, table].filter(
    (here, i, all) => all.findIndex((other) => isSamePlace(here, other)) === i,
  );
  const [home] = places;
  return places.map((here) => ({
    account: here.account,
    region: here.region,
    name: toStackName(name, home, here),
    queues: queues.filter((queue) => isSamePlace(queue, here)),
    functions: functions.filter((one) => isSamePlace(one, here)),
    buckets: buckets.filter((bucket) => isSamePlace(bucket, here)),
    ...(isSamePlace(table, here) && { table }),
  }));
}

/** The name of the home stack does not depend on how many other stacks there are. */
function toStackName(name: string, home: Place, { account, region }: Place): string {
  const parts = account === home.account ? [region] : [account, region];
  const isHome = isSamePlace(home, { account, region });
  // CloudFormation allows letters, digits and hyphens, and a letter first.
  const written = [name, ...(isHome ? [] : parts)].join("-").replaceAll("_", "-");
  return /^[A-Za-z]/.test(written) ? written : `relay-${written}`;
}

function toTable(aws: NonNullable<Config["aws"]>, { account }: Place): TableLayout {
  const place = { account: aws.tableAccount ?? account, region: aws.tableRegion };
  const name = tableName(aws.table);
  return { ...place, name, arn: toArn(place, "dynamodb", `table/${name}`) };
}

function assertOfAws(file: string, queues: readonly (readonly [string, string])[]): void {
  const strangers = queues.filter(([, url]) => !isOfAws(new URL(url)));
  if (strangers.length === 0) return;
  throw new ConfigError(strangers.map(([key, url]) => `${file}: ${key}: ${url} is not the URL of a queue in AWS`));
}

/** A table that is configured by name alone is looked up in the function's own account: functions in others need its ARN. */
function assertReachable(
  file: string,
  table: TableLayout,
  namedByArn: boolean,
  replays: readonly FunctionLayout[],
): void {
  const outsider = replays.find(({ account }) => account !== table.account);
  if (namedByArn || !outsider) return;
  throw new ConfigError([
    `${file}: state: targets.${outsider.target} is in account ${outsider.account}, which cannot find the table by its name: write state: dynamodb:${table.arn}`,
  ]);
}
