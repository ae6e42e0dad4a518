import type { FunctionLayout } from "./function-layout.ts";
import type { Layout, StackLayout } from "./layout.ts";
import { permissionsOf } from "./permissions.ts";

/** What a function does with the key of a stack. */
export interface KeyUse {
  readonly stack: StackLayout;
  readonly actions: readonly string[];
}

const decrypt = ["kms:Decrypt"] as const;
/** SQS encrypts a message, and S3 an object, with a data key; both check the key by decrypting the data key. */
const encryptData = ["kms:Decrypt", "kms:GenerateDataKey"] as const;
/** DynamoDB uses the keys of its tables in the name of the caller. The same as CDK's `grantReadData` and `grantWriteData`. */
const readTable = ["kms:Decrypt", "kms:DescribeKey"] as const;
const writeTable = [
  "kms:Encrypt",
  "kms:ReEncryptFrom",
  "kms:ReEncryptTo",
  "kms:GenerateDataKey",
  "kms:GenerateDataKeyWithoutPlaintext",
] as const;

/** Actions that need no key are missing. */
const keyActions: Readonly<Record<string, readonly string[]>> = {
  "sqs:ReceiveMessage": decrypt,
  "sqs:SendMessage": encryptData,
  "s3:GetObject": decrypt,
  "s3:PutObject": encryptData,
  "dynamodb:GetItem": readTable,
  "dynamodb:BatchGetItem": readTable,
  "dynamodb:Query": readTable,
  "dynamodb:UpdateItem": writeTable,
  "dynamodb:DeleteItem": writeTable,
};

/** The keys that a function uses: those of all stacks whose queues, table or buckets it uses, each with what it needs there. */
export function keyUsesOf(one: FunctionLayout, layout: Layout): readonly KeyUse[] {
  const permissions = permissionsOf(one, layout);
  return layout.stacks.flatMap((stack) => {
    const own = [
      ...stack.queues.flatMap((queue) => [queue, queue.deadLetters]),
      ...stack.buckets,
      ...(stack.table ? [stack.table] : []),
    ];
    const isOwn = (used: string) => own.some(({ arn }) => used === arn || used.startsWith(`${arn}/`));
    const used = permissions.filter(({ resources }) => resources.some(isOwn)).flatMap(({ actions }) => actions);
    const actions = [...new Set(used.flatMap((action) => keyActions[action] ?? []))].sort();
    return actions.length > 0 ? [{ stack, actions }] : [];
  });
}

/** What agents need to send to an encrypted queue. */
export const sendingUse: readonly string[] = encryptData;
