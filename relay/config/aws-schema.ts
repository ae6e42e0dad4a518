import { z } from "zod";
import { duration, section, written } from "./forms.ts";

// Settings that only the deployment to AWS reads; agents, hosts and functions ignore them.

const dayMs = 24 * 60 * 60 * 1_000;
// The only retention times that CloudWatch offers.
const retentionDays: readonly number[] = [
  1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288, 3_653,
];

const keyArn =
  /^arn:[\w-]+:kms:[a-z0-9-]+:\d{12}:key\/(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const principalArn = /^arn:[\w-]+:(?:iam|sts)::\d{12}:[\w+=,.@/-]+$/;
const policyArn = /^arn:[\w-]+:iam::(?:\d{12}|aws):policy\/[\w+=,.@/-]+$/;

const alarms = section({
  email: z.email({ error: "must be an e-mail address" }).describe("Address that alarms are sent to").optional(),
  dailyCost: written(parseUsd, "an amount in US dollars", ["5 USD"])
    .describe("Raises an alarm if SQS, Lambda and DynamoDB cost more than this in one day and region, at list prices")
    .optional(),
  silentAfter: duration("5m", "24h")
    .prefault("15m")
    .describe("Raises an alarm if nothing is sent to the ingress queue for this long"),
});

// Lambda reserves AWS_… and LAMBDA_…; the functions of spoa-relay use RELAY_….
const secretVariable = z.string().regex(/^(?!AWS_|LAMBDA_|RELAY_)[A-Za-z]\w+$/, {
  error:
    "cannot be an environment variable of a Lambda function: use a letter, then letters, digits and _; AWS_…, LAMBDA_… and RELAY_… are reserved",
});

const secret = z
  .string()
  .regex(/^[\w/+=.@:-]{1,512}(?:#[\w.-]{1,128})?$/, {
    error: "must be the name or ARN of a secret, with #FIELD if the secret is JSON, such as shop/staging#key",
  })
  .transform((text) => {
    const [id, field] = text.split("#");
    return field === undefined ? { id } : { id, field };
  });

export const awsSchema = section({
  tags: z
    .record(z.string().min(1).max(128), z.string().max(256))
    .default({})
    .describe("Tags of all resources that the deployment creates"),
  key: z
    .string()
    .regex(new RegExp(`^own$|${keyArn.source}`), { error: "must be own, or the ARN of a KMS key" })
    .describe(
      "Key that encrypts queues, table and captures: own creates one in each region, or the ARN of a KMS key; by default keys of AWS",
    )
    .optional(),
  agents: z
    .array(z.string().regex(principalArn, { error: "must be the ARN of a role, a user or an account (…:root)" }))
    .default([])
    .describe("ARNs of roles, users and accounts (…:root) of other AWS accounts that may send to the ingress queue"),
  alarms: alarms.prefault({}).describe("Alarms in CloudWatch"),
  logs: duration("1d", "3653d")
    .transform((ms) => ms / dayMs)
    .refine((days) => retentionDays.includes(days), {
      error: `must be a retention time of CloudWatch: ${retentionDays.map((days) => `${days}d`).join(", ")}`,
    })
    .prefault("30d")
    .describe("How long the logs of the functions are kept: a retention time of CloudWatch, such as 30d"),
  keepData: z
    .boolean()
    .default(true)
    .describe("Whether queues, table, captures and keys are kept if their stack is deleted"),
  secrets: z
    .record(secretVariable, secret)
    .default({})
    .describe(
      "For each { env: VARIABLE } of a target: the name or ARN of the secret in Secrets Manager, with #FIELD if the secret is JSON; the replay reads it at its start and every five minutes",
    ),
});

/** The network in which a replay function runs, to reach a shadow that is not public. */
export const vpcSchema = section({
  subnets: z
    .array(
      z.string().regex(/^subnet-[0-9a-f]{8,17}$/, { error: "must be the id of a subnet, such as subnet-0a1b2c3d" }),
    )
    .min(1)
    .describe("Ids of the subnets"),
  securityGroups: z
    .array(
      z.string().regex(/^sg-[0-9a-f]{8,17}$/, { error: "must be the id of a security group, such as sg-0a1b2c3d" }),
    )
    .min(1)
    .describe("Ids of the security groups"),
});

/** Managed policies for the role of a replay function. */
export const policiesSchema = z.array(z.string().regex(policyArn, { error: "must be the ARN of a managed policy" }));

function parseUsd(text: string): number | undefined {
  const match = /^(\d{1,6}(?:\.\d{1,2})?) ?USD$/.exec(text);
  return match && Number(match[1]) > 0 ? Number(match[1]) : undefined;
}
