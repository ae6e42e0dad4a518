import type { Config, TargetConfig } from "../relay/config/config.ts";
import type { SecretPlace, VpcPlace } from "../relay/config/deployment.ts";
import { ConfigError } from "../relay/config/text.ts";
import { deployedName, type FunctionName, toEnvironment } from "../relay/deployed/functions.ts";
import { type Place, partitionOf, toArn } from "./place.ts";
import type { QueueLayout } from "./queue-layout.ts";
import { workersFor } from "./worker-count.ts";

/** A function in Lambda. */
export interface FunctionLayout extends Place {
  readonly kind: FunctionName;
  readonly name: string;
  readonly arn: string;
  /** The role that it runs as. Named, since policies of other accounts and regions name it. */
  readonly role: { readonly name: string; readonly arn: string };
  readonly timeoutSeconds: number;
  readonly memoryMb: number;
  /** What its event source mapping takes packs from, and how many run at once at most. */
  readonly reads?: { readonly queue: QueueLayout; readonly maxConcurrency: number };
  /** Of a replay. */
  readonly target?: string;
  readonly vpc?: VpcPlace;
  /** ARNs of managed policies. */
  readonly policies: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** By environment variable. */
  readonly secrets: Readonly<Record<string, SecretPlace>>;
}

/** Three tries of a capture's object, and ten packs; a pack that has waited for the archive is not put off much longer. */
export const fanOutTimeoutSeconds = 120;
const scheduleTimeoutSeconds = 60;
// A redrive takes five seconds, and a queue that is away as long to say so.
const controlTimeoutSeconds = 30;
const leastReplaySeconds = 300;
/** What Lambda allows. */
const mostSeconds = 900;
// Of functions/lambda: what follows the last answer.
const settleSeconds = 3;

// A vCPU comes with 1,769 MB: compressing packs takes the fan-out, sending them the replay, about half of one.
const workerMemoryMb = 1_024;
// The schedule merges objects of up to 8 MiB, unpacked several times as much.
const scheduleMemoryMb = 1_024;
const controlMemoryMb = 512;
const fanOutWorkers = 10;

/** Five minutes; more for a target that takes long to answer: half of it is for what was sent last. */
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

/** Throws `ConfigError` for what a function cannot do for a target. */
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
      `${path}.timeout: a function has 15 minutes, half of them for the last answers: 7m at most`,
    ]);
  }
  if (target.token?.source.kind === "command") {
    throw new ConfigError([`${path}.token.command: in Lambda there are no programs; use token.url`]);
  }
  if (target.sign?.profile !== undefined) {
    throw new ConfigError([
      `${path}.sign.profile: in Lambda there are no profiles; it signs with the role of the function`,
    ]);
  }
  const names = variables.flatMap(({ path: [, owner], name }) => (owner === target.name ? [name] : []));
  const secrets = Object.fromEntries(names.map((name) => [name, deployment.secrets[name]]));
  const unknown = names.find((name) => secrets[name] === undefined);
  if (unknown !== undefined) {
    throw new ConfigError([
      `${path}: { env: ${unknown} }: the function needs it, too: say where it is, as in aws: { secrets: { ${unknown}: NAME#FIELD } }`,
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
    environment: toEnvironment("replay", { target: target.name }),
    secrets,
  };
}

/** @param replays all of them; it switches those of its own account */
export function toSchedule(layoutName: string, place: Place, replays: readonly FunctionLayout[]): FunctionLayout {
  return {
    ...toNamed("schedule", layoutName, place),
    timeoutSeconds: scheduleTimeoutSeconds,
    memoryMb: scheduleMemoryMb,
    environment: toEnvironment("schedule", { mappings: toMappings(place, replays) }),
  };
}

/** As `toSchedule`. */
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
  // Roles are of all regions of an account, and their names as short as those of functions.
  const role = `${name}-${region}`;
  if (role.length > 64) {
    throw new ConfigError([`${role}: IAM takes names of 64 characters: give the queue or the target a shorter one`]);
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
