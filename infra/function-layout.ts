import type { Config, TargetConfig } from "../relay/config/config.ts";
import type { SecretPlace, VpcPlace } from "../relay/config/deployment.ts";
import { ConfigError } from "../relay/config/text.ts";
import { deployedName, type FunctionName, toEnvironment } from "../relay/deployed/functions.ts";
import { type Place, partitionOf, toArn } from "./place.ts";
import type { QueueLayout } from "./queue-layout.ts";
import { workersFor } from "./worker-count.ts";

/** A Lambda function. */
export interface FunctionLayout extends Place {
  readonly kind: FunctionName;
  readonly name: string;
  readonly arn: string;
  /** The role that it runs as. It has a fixed name because policies in other accounts and regions refer to it. */
  readonly role: { readonly name: string; readonly arn: string };
  readonly timeoutSeconds: number;
  readonly memoryMb: number;
  /** The queue that its event source mapping reads, and how many invocations run at once at most. */
  readonly reads?: { readonly queue: QueueLayout; readonly maxConcurrency: number };
  /** Only for a replay function. */
  readonly target?: string;
  readonly vpc?: VpcPlace;
  /** ARNs of managed policies that the configuration adds to the role. */
  readonly policies: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** What the function reads when it starts, by the NAME of `{ env: NAME }`. */
  readonly secrets: Readonly<Record<string, SecretPlace>>;
}

/** Time for ten packs and three attempts to write a capture's object. */
export const fanOutTimeoutSeconds = 120;
const scheduleTimeoutSeconds = 60;
// A redrive takes five seconds, and a call to a queue that does not answer fails after about as long.
const controlTimeoutSeconds = 30;
const leastReplaySeconds = 300;
/** Lambda's limit. */
const mostSeconds = 900;
// The time that functions/lambda keeps for the work after the last answer.
const settleSeconds = 3;

// Lambda gives one vCPU per 1,769 MB. The fan-out compresses packs and the replay sends requests: each uses about half a vCPU.
const workerMemoryMb = 1_024;
// The schedule merges objects of up to 8 MiB, which decompress to several times that size.
const scheduleMemoryMb = 1_024;
const controlMemoryMb = 512;
const fanOutWorkers = 10;

/** Five minutes, or more for a target with a long `timeout`: half of the time is left for the answers to the last requests. */
export function replayTimeoutSeconds({ timeoutMs }: TargetConfig): number {
  return Math.max(leastReplaySeconds, Math.ceil(2 * (timeoutMs / 1_000 + settleSeconds)));
}

export function toFanOut(queue: QueueLayout): FunctionLayout {
  return {
    ...toNamed("fanout", queue.name, queue),
    timeoutSeconds: fanOutTimeoutSeconds,
    memoryMb: workerMemoryMb,
    reads: { queue, maxConcurrency: fanOutWorkers },
    environment: toEnvironment("fanout", {}),
  };
}

/** Throws `ConfigError` if the target's configuration asks for something that a Lambda function cannot do. */
export function toReplay(
  layoutName: string,
  target: TargetConfig,
  queue: QueueLayout,
  { deployment, file, variables }: Config,
): FunctionLayout {
  const path = `${file}: targets.${target.name}`;
  const timeoutSeconds = replayTimeoutSeconds(target);
  if (timeoutSeconds > mostSeconds) {
    throw new ConfigError([
      `${path}.timeout: is too long for Lambda: a function ends after 15 minutes and leaves half of them for the last answers; use 7m at most`,
    ]);
  }
  if (target.token?.source.kind === "command") {
    throw new ConfigError([`${path}.token.command: Lambda cannot run the program; use token.url`]);
  }
  if (target.sign?.profile !== undefined) {
    throw new ConfigError([
      `${path}.sign.profile: Lambda has no profiles; leave it out, and requests are signed with the role of the function`,
    ]);
  }
  const names = variables.flatMap(({ path: [section, owner], name }) =>
    section === "loopKey" || owner === target.name ? [name] : [],
  );
  const secrets = Object.fromEntries(names.map((name) => [name, deployment.secrets[name]]));
  const unknown = names.find((name) => secrets[name] === undefined);
  if (unknown !== undefined) {
    throw new ConfigError([
      `${path}: { env: ${unknown} }: the function has no value for it; name a secret of Secrets Manager: aws: { secrets: { ${unknown}: NAME#FIELD } }`,
    ]);
  }
  return {
    ...toNamed("replay", layoutName, queue, target.name),
    timeoutSeconds,
    memoryMb: workerMemoryMb,
    reads: { queue, maxConcurrency: workersFor(target) },
    target: target.name,
    ...(target.vpc && { vpc: target.vpc }),
    policies: target.policies ?? [],
    environment: toEnvironment("replay", {
      target: target.name,
      ...(names.length > 0 && { secrets: JSON.stringify(secrets) }),
    }),
    secrets,
  };
}

/** @param replays all replay functions; the schedule switches the mappings of those in its own account */
export function toSchedule(layoutName: string, place: Place, replays: readonly FunctionLayout[]): FunctionLayout {
  return {
    ...toNamed("schedule", layoutName, place),
    timeoutSeconds: scheduleTimeoutSeconds,
    memoryMb: scheduleMemoryMb,
    environment: toEnvironment("schedule", { mappings: toMappings(place, replays) }),
  };
}

/** @param replays as for `toSchedule` */
export function toControl(layoutName: string, place: Place, replays: readonly FunctionLayout[]): FunctionLayout {
  return {
    ...toNamed("control", layoutName, place),
    timeoutSeconds: controlTimeoutSeconds,
    memoryMb: controlMemoryMb,
    environment: toEnvironment("control", { mappings: toMappings(place, replays) }),
  };
}

function toMappings({ account }: Place, replays: readonly FunctionLayout[]): string {
  const own = replays.filter((replay) => replay.account === account);
  return JSON.stringify(Object.fromEntries(own.map(({ target, arn }) => [target, arn])));
}

function toNamed(kind: FunctionName, layoutName: string, { account, region }: Place, target?: string) {
  const name = deployedName(layoutName, kind, target);
  // Role names are unique across all regions of an account, so the region is part of the name.
  const role = `${name}-${region}`;
  if (role.length > 64) {
    throw new ConfigError([
      `${role}: this role name has ${role.length} characters, and IAM allows 64: give the queue or the target a shorter name`,
    ]);
  }
  return {
    kind,
    account,
    region,
    name,
    arn: toArn({ account, region }, "lambda", `function:${name}`),
    role: { name: role, arn: `arn:${partitionOf(region)}:iam::${account}:role/${role}` },
    policies: [],
    secrets: {},
  };
}
