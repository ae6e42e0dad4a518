import { figuresPartition, jobsPartition, packPartition, targetPartition } from "../relay/state/dynamodb/keys.ts";
import { tallyPartition } from "../relay/state/dynamodb/writer-tally.ts";
import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, StackLayout, TableLayout } from "./layout.ts";
import { type Place, toArn } from "./place.ts";

/** What somebody may do with something. */
export interface Permission {
  readonly actions: readonly string[];
  /** ARNs. */
  readonly resources: readonly string[];
  readonly conditions?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>;
  /** Why there are wildcards in the ARNs; the checks at synthesis refuse them without a reason. */
  readonly wildcard?: string;
}

/** The mapping of the function polls with the function's role; what comes again is shown by the function itself. */
const receive = [
  "sqs:ReceiveMessage",
  "sqs:DeleteMessage",
  "sqs:ChangeMessageVisibility",
  "sqs:GetQueueAttributes",
] as const;
const send = ["sqs:SendMessage"] as const;
/** Depths for the ledger. */
const look = ["sqs:GetQueueAttributes"] as const;
/** As many as relay/state has commands. */
const keepState = [
  "dynamodb:GetItem",
  "dynamodb:BatchGetItem",
  "dynamodb:Query",
  "dynamodb:UpdateItem",
  "dynamodb:DeleteItem",
] as const;

/** Also where nothing is listed: without it S3 calls forbidden what is not there. A condition on the prefix would do the same. */
const listObjects = ["s3:ListBucket"] as const;
const objectsOfCapture = "Objects of a capture are named by their time and content, and all begin with its prefix";

/** All that a function does with what is laid out, and nothing that it does not. */
export function permissionsOf(one: FunctionLayout, layout: Layout): readonly Permission[] {
  const { table, queues, functions, captures, buckets } = contentsOf(layout);
  const state = { actions: keepState, resources: [table.arn] };
  const own = one.reads?.queue;
  const targetQueues = functions.flatMap(({ kind, reads }) => (kind === "replay" && reads ? [reads.queue] : []));
  switch (one.kind) {
    case "fanout":
      return [
        { actions: receive, resources: arnsOf(own) },
        { actions: send, resources: [...arnsOf(own), ...arnsOf(own?.deadLetters), ...targetQueues.flatMap(arnsOf)] },
        state,
        // Of what is there already it looks whether it is the same.
        {
          actions: ["s3:PutObject", "s3:GetObject"],
          resources: captures.map(({ objects }) => objects),
          wildcard: objectsOfCapture,
        },
        { actions: listObjects, resources: buckets },
      ].filter(({ resources }) => resources.length > 0);
    case "replay":
      return [
        { actions: receive, resources: arnsOf(own) },
        { actions: send, resources: [...arnsOf(own), ...arnsOf(own?.deadLetters)] },
        ...stateOfTarget(`${one.target}`, table),
      ];
    case "schedule":
      return [
        { actions: send, resources: targetQueues.flatMap(arnsOf) },
        state,
        {
          actions: ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"],
          resources: captures.map(({ objects }) => objects),
          wildcard: objectsOfCapture,
        },
        { actions: listObjects, resources: buckets },
        ...switchMappings(one, functions),
      ].filter(({ resources }) => resources.length > 0);
    case "control":
      return [
        { actions: [...send, ...look], resources: queues.flatMap(arnsOf) },
        { actions: receive, resources: queues.flatMap(({ deadLetters }) => arnsOf(deadLetters)) },
        state,
        ...switchMappings(one, functions),
      ];
  }
}

/** Of the managed policy for agents that send to an ingress queue. */
export function agentPolicyName({ name, region }: { readonly name: string; readonly region: string }): string {
  return `${name}-agent-${region}`;
}

/** What functions of other accounts do with a resource: their roles may, and the resource has to say so, too. */
export function foreignUses(
  { arn, account }: { readonly arn: string; readonly account: string },
  layout: Layout,
): readonly { readonly user: FunctionLayout; readonly permission: Permission }[] {
  const { functions } = contentsOf(layout);
  const strangers = functions.filter((one) => one.account !== account);
  return strangers.flatMap((user) =>
    permissionsOf(user, layout).flatMap((permission) => {
      const resources = permission.resources.filter((used) => used === arn || used.startsWith(`${arn}/`));
      return resources.length > 0 ? [{ user, permission: { ...permission, resources } }] : [];
    }),
  );
}

/** Where a function uses what may be encrypted. */
export function placesUsedBy(one: FunctionLayout, layout: Layout): readonly Place[] {
  const permitted = permissionsOf(one, layout).flatMap(({ resources }) => resources);
  const uses = (arn: string) => permitted.some((used) => used === arn || used.startsWith(`${arn}/`));
  return layout.stacks.filter((stack) =>
    [...stack.queues, ...stack.buckets, ...(stack.table ? [stack.table] : [])].some(({ arn }) => uses(arn)),
  );
}

/** A replay may be in the account of its shadow: what it cannot do is to change other targets, or jobs. */
function stateOfTarget(target: string, { arn }: TableLayout): readonly Permission[] {
  const within = (...partitions: readonly string[]) => ({
    "ForAllValues:StringLike": { "dynamodb:LeadingKeys": partitions },
  });
  const own = [targetPartition(target), figuresPartition(target), packPartition("*"), tallyPartition];
  return [
    { actions: keepState, resources: [arn], conditions: within(...own) },
    { actions: ["dynamodb:GetItem"], resources: [arn], conditions: within(jobsPartition) },
  ];
}

function contentsOf({ stacks }: Layout) {
  const [table] = stacks.flatMap((stack): TableLayout[] => (stack.table ? [stack.table] : []));
  const functions = stacks.flatMap((stack: StackLayout) => stack.functions);
  const queues = stacks.flatMap((stack) => stack.queues);
  const buckets = stacks.flatMap((stack) => stack.buckets);
  const captures = buckets.flatMap(({ arn, captures }) =>
    captures.map(({ prefix }) => ({ objects: `${arn}/${prefix}*` })),
  );
  return { table, functions, queues, captures, buckets: buckets.map(({ arn }) => arn) };
}

function arnsOf(queue: { readonly arn: string } | undefined): readonly string[] {
  return queue ? [queue.arn] : [];
}

/** Of the replays in its own account; in another one it could not. */
function switchMappings({ account }: FunctionLayout, functions: readonly FunctionLayout[]): readonly Permission[] {
  const replays = functions.filter((one) => one.kind === "replay" && one.account === account);
  if (replays.length === 0) return [];
  const regions = [...new Set(replays.map(({ region }) => region))];
  return [
    {
      actions: ["lambda:ListEventSourceMappings"],
      resources: ["*"],
      wildcard: "A list of mappings has no resource that a policy could name",
    },
    {
      actions: ["lambda:UpdateEventSourceMapping"],
      resources: regions.map((region) => toArn({ account, region }, "lambda", "event-source-mapping:*")),
      conditions: { ArnEquals: { "lambda:FunctionArn": replays.map(({ arn }) => arn) } },
      wildcard: "Lambda makes up the ids of mappings; the condition names the functions that they are of",
    },
  ];
}
