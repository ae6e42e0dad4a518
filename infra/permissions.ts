import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, StackLayout, TableLayout } from "./layout.ts";
import type { Permission } from "./permission.ts";
import { partitionOf, toArn } from "./place.ts";
import { tablePermissions } from "./table-permissions.ts";

/** The event source mapping polls with the function's role. The function itself changes the visibility of failed messages. */
const receive = [
  "sqs:ReceiveMessage",
  "sqs:DeleteMessage",
  "sqs:ChangeMessageVisibility",
  "sqs:GetQueueAttributes",
] as const;
const send = ["sqs:SendMessage"] as const;
/** Reads the number of waiting messages for the ledger. */
const look = ["sqs:GetQueueAttributes"] as const;
/**
 * Needed even if nothing is listed: without it S3 answers 403 instead of 404 for an object that does not exist. A condition on
 * the prefix would have the same effect, so there is none.
 */
const listObjects = ["s3:ListBucket"] as const;
const objectsOfCapture = "Objects of a capture are named by their time and content; all names begin with its prefix";

/** Exactly what a function does with the queues, buckets, table and functions of the layout. */
export function permissionsOf(one: FunctionLayout, layout: Layout): readonly Permission[] {
  const { table, queues, functions, captures, buckets } = contentsOf(layout);
  const state = tablePermissions(one, table);
  const own = one.reads?.queue;
  const targetQueues = functions.flatMap(({ kind, reads }) => (kind === "replay" && reads ? [reads.queue] : []));
  switch (one.kind) {
    case "fanout":
      return [
        { actions: receive, resources: arnsOf(own) },
        { actions: send, resources: [...arnsOf(own), ...arnsOf(own?.deadLetters), ...targetQueues.flatMap(arnsOf)] },
        ...state,
        // It reads an object that already exists, to see whether the content is the same.
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
        ...state,
        { actions: ["secretsmanager:GetSecretValue"], resources: secretArns(one) },
      ].filter(({ resources }) => resources.length > 0);
    case "schedule":
      return [
        { actions: send, resources: targetQueues.flatMap(arnsOf) },
        ...state,
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
        ...emptyRemoved(one, layout),
        ...state,
        ...switchMappings(one, functions),
      ];
  }
}

/** The name of the managed policy for agents that send to an ingress queue. */
export function agentPolicyName({ name, region }: { readonly name: string; readonly region: string }): string {
  return `${name}-agent-${region}`;
}

/** What functions of other accounts do with a resource. Besides their roles, the resource's own policy must allow it. */
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

/** Secrets Manager appends a hyphen and six characters to the name of a secret; an ARN may be written with or without them. */
function secretArns({ account, region, secrets }: FunctionLayout): readonly string[] {
  const arns = Object.values(secrets).flatMap(({ id }) =>
    id.startsWith("arn:")
      ? [id, `${id}-??????`]
      : [toArn({ account, region }, "secretsmanager", `secret:${id}-??????`)],
  );
  return [...new Set(arns)];
}

/**
 * The queues of targets that were removed from the configuration: they remain, and their requests are sent to another target or
 * discarded. The layout does not know their names.
 */
function emptyRemoved({ account, region }: FunctionLayout, { name, stacks }: Layout): readonly Permission[] {
  // A queue in another account has lost the policy that allowed it.
  if (stacks[0].account !== account) return [];
  return [
    {
      actions: receive,
      resources: [`arn:${partitionOf(region)}:sqs:*:${account}:${name}-*`],
      wildcard:
        "Queues of removed targets remain in their region until they are empty; all names begin with the queue's",
    },
  ];
}

/** Only for the replay functions in its own account: mappings in other accounts cannot be switched. */
function switchMappings({ account }: FunctionLayout, functions: readonly FunctionLayout[]): readonly Permission[] {
  const replays = functions.filter((one) => one.kind === "replay" && one.account === account);
  if (replays.length === 0) return [];
  const regions = [...new Set(replays.map(({ region }) => region))];
  return [
    {
      actions: ["lambda:ListEventSourceMappings"],
      resources: ["*"],
      wildcard: "ListEventSourceMappings supports no resource in a policy",
    },
    {
      actions: ["lambda:UpdateEventSourceMapping"],
      resources: regions.map((region) => toArn({ account, region }, "lambda", "event-source-mapping:*")),
      conditions: { ArnEquals: { "lambda:FunctionArn": replays.map(({ arn }) => arn) } },
      wildcard: "Lambda generates the ids of mappings; the condition names their functions",
    },
  ];
}
