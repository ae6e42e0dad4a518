import { z } from "zod";
import { duration, section, written } from "./forms.ts";

// What only the deployment to AWS reads; agents, hosts and functions pass over it.

const dayMs = 24 * 60 * 60 * 1_000;
// CloudWatch keeps logs for one of these, and for nothing in between.
const retentionDays: readonly number[] = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288, 3_653,
];

const keyArn =
  /^arn:[\w-]+:kms:[a-z0-9-]+:\d{12}:key\/(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const principalArn = /^arn:[\w-]+:(?:iam|sts)::\d{12}:[\w+=,.@/-]+$/;
const policyArn = /^arn:[\w-]+:iam::(?:\d{12}|aws):policy\/[\w+=,.@/-]+$/;

const alarms = section({
  email: z.email({ error: "must be an e-mail address" }).describe("Who is told of alarms").optional(),
  dailyCost: written(parseUsd, "a sum in US dollars", ["5 USD"])
    .describe("An alarm where a day costs more in one region, as SQS, Lambda and DynamoDB count it")
    .optional(),
  silentAfter: duration("5m", "24h").prefault("15m").describe("An alarm where no agent sends anything for so long"),
});

// Lambda has its own AWS_… and LAMBDA_…, functions have their RELAY_….
const secretVariable = z.string().regex(/^(?!AWS_|LAMBDA_|RELAY_)[A-Za-z]\w+$/, {
  error:
    "is not a name that a function in Lambda takes: a letter, then letters, digits and _, but no AWS_…, LAMBDA_… or RELAY_…",
});

const secret = z
  .string()
  .regex(/^[\w/+=.@:-]{1,512}(?:#[\w.-]{1,128})?$/, {
    error: "must be the name or the ARN of a secret, and #FIELD where it is JSON: shop/staging#key",
  })
  .transform((text) => {
    const [id, field] = text.split("#");
    return field === undefined ? { id } : { id, field };
  });

export const awsSchema = section({
  tags: z.record(z.string().min(1).max(128), z.string().max(256)).default({}).describe("Of everything that is made"),
  key: z
    .string()
    .regex(new RegExp(`^own$|${keyArn.source}`), { error: "must be own, or the ARN of a key in KMS" })
    .describe("Encrypts queues, table and captures: own for a new one in each region, or the ARN of a key in KMS")
    .optional(),
  agents: z
    .array(z.string().regex(principalArn, { error: "must be the ARN of a role, a user or an account (…:root)" }))
    .default([])
    .describe("Who else may send to QUEUE: roles, users and accounts (…:root) of other accounts"),
  alarms: alarms.prefault({}),
  logs: duration("1d", "3653d")
    .transform((ms) => ms / dayMs)
    .refine((days) => retentionDays.includes(days), {
      error: `must be a time that CloudWatch has, in days: ${retentionDays.join(", ")}`,
    })
    .prefault("30d")
    .describe("How long logs of functions are kept"),
  keepData: z
    .boolean()
    .default(true)
    .describe("Whether queues, table, captures and keys stay where their stack is deleted"),
  secrets: z
    .record(secretVariable, secret)
    .default({})
    .describe("Secrets Manager's NAME#FIELD for each { env: NAME } of a target"),
});

/** Where a replay function stands in a network, to reach a shadow that is not public. */
export const vpcSchema = section({
  subnets: z
    .array(
      z.string().regex(/^subnet-[0-9a-f]{8,17}$/, { error: "must be the id of a subnet, such as subnet-0a1b2c3d" }),
    )
    .min(1),
  securityGroups: z
    .array(
      z.string().regex(/^sg-[0-9a-f]{8,17}$/, { error: "must be the id of a security group, such as sg-0a1b2c3d" }),
    )
    .min(1),
});

/** Managed policies for the role of a replay function. */
export const policiesSchema = z.array(z.string().regex(policyArn, { error: "must be the ARN of a managed policy" }));

function parseUsd(text: string): number | undefined {
  const match = /^(\d{1,6}(?:\.\d{1,2})?) ?USD$/.exec(text);
  return match && Number(match[1]) > 0 ? Number(match[1]) : undefined;
}
