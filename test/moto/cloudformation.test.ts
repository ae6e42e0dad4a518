import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { GetFunctionConfigurationCommand, LambdaClient } from "@aws-sdk/client-lambda";
import { GetQueueAttributesCommand, GetQueueUrlCommand, SQSClient } from "@aws-sdk/client-sqs";
import { beforeEach, describe, expect, inject, it } from "vitest";
import { type Layout, toLayout } from "../../infra/layout.ts";
import { loadConfig } from "../../relay/config/load.ts";
import { maxMessageBytes } from "../../relay/queue/port.ts";
import { synthesise } from "../support/aws/synthesis.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { MotoStacks, motoAccount, type Template } from "./moto-stacks.ts";

const url = inject("motoUrl");
const stacks = new MotoStacks(url);
const secrets = { "shop/near": '{"key":"k"}' };

/** What is changed in a template because moto refuses it; each change is tested to be needed still. */
const adaptations: Readonly<Record<string, (template: Template) => void>> = {
  "moto refuses a MaximumMessageSize of 1 MiB": ({ Resources }) => {
    for (const { Type, Properties } of Object.values(Resources)) {
      if (Type === "AWS::SQS::Queue" && Properties) Properties.MaximumMessageSize = maxMessageBytes / 4;
    }
  },
  "moto fails for a KMS key with tags": ({ Resources }) => {
    for (const { Type, Properties } of Object.values(Resources)) {
      if (Type === "AWS::KMS::Key") delete Properties?.Tags;
    }
  },
  "moto fails for outputs of resources that it does not know": (template) => {
    delete template.Outputs;
  },
};

let synthesised: { readonly layout: Layout; readonly templates: ReadonlyMap<string, string> } | undefined;

/** The layout and the templates by stack, made once. The table's stack is the first, and is created last. */
function deployment() {
  synthesised ??= toDeployment();
  return synthesised;
}

function toDeployment() {
  const file = configFile(
    `queue: https://sqs.us-east-1.amazonaws.com/${motoAccount}/shop`,
    "state: dynamodb:shop",
    "targets:",
    "  near: { url: https://near.example, rate: 200/s, headers: { set: { x-key: { env: KEY } } } }",
    "  far: { url: https://far.example, rate: 50/s, region: eu-west-1 }",
    "captures: { orders: { store: s3://shop-captures/orders } }",
    "aws:",
    "  key: own",
    "  secrets: { KEY: shop/near#key }",
    "  tags: { team: shop }",
    "  alarms: { email: shop@example.com, dailyCost: 5 USD }",
  );
  const { directory } = synthesise(file, { KEY: "k" });
  const layout = toLayout(loadConfig(file, { KEY: "k" }));
  const templates = layout.stacks.map(
    ({ name }) => [name, readFileSync(join(directory, `${name}.template.json`), "utf8")] as const,
  );
  return { layout, templates: new Map(templates) };
}

beforeEach(() => stacks.reset());

describe("the synthesised templates in moto's CloudFormation", () => {
  it("become stacks with these resources, and without those that moto does not know", async () => {
    const made = new Map<string, number>();
    const unknown = new Map<string, number>();
    for (const { name, region } of deployment().layout.stacks.toReversed()) {
      const template = adapted(name);
      await stacks.prepare(region, template, secrets);
      const ids = await stacks.create(region, name, template);
      for (const [id, { Type }] of Object.entries(template.Resources)) {
        const counts = ids.has(id) ? made : unknown;
        counts.set(Type, (counts.get(Type) ?? 0) + 1);
      }
    }

    const [one, other] = [made, unknown].map((counts) => Object.fromEntries([...counts].sort()));
    process.stdout.write(`moto made ${JSON.stringify(one)}\nmoto does not know ${JSON.stringify(other)}\n`);
    expect(one).toEqual({
      "AWS::DynamoDB::Table": 1,
      "AWS::IAM::ManagedPolicy": 1,
      "AWS::IAM::Role": 6,
      "AWS::KMS::Key": 2,
      "AWS::Lambda::EventSourceMapping": 3,
      "AWS::Lambda::Function": 5,
      "AWS::Logs::LogGroup": 5,
      "AWS::S3::Bucket": 1,
      "AWS::SNS::Topic": 2,
      "AWS::SQS::Queue": 6,
    });
    expect(Object.keys(other)).toEqual([
      "AWS::CloudWatch::Alarm",
      "AWS::CloudWatch::Dashboard",
      "AWS::KMS::Alias",
      "AWS::Lambda::EventInvokeConfig",
      "AWS::Lambda::Url",
      "AWS::S3::BucketPolicy",
      "AWS::SNS::Subscription",
      "AWS::SNS::TopicPolicy",
      "AWS::SQS::QueuePolicy",
      "AWS::Scheduler::Schedule",
    ]);
  });

  it("make queues, a table, functions and mappings with the properties of the layout", async () => {
    for (const stack of deployment().layout.stacks.toReversed()) {
      const template = adapted(stack.name);
      await stacks.prepare(stack.region, template, secrets);
      await stacks.create(stack.region, stack.name, template);
      const place = { endpoint: url, region: stack.region };
      const [sqs, lambda, dynamo] = [new SQSClient(place), new LambdaClient(place), new DynamoDBClient(place)];

      for (const { name, arn, visibilitySeconds, deadLetters } of stack.queues) {
        const { QueueUrl } = await sqs.send(new GetQueueUrlCommand({ QueueName: name }));
        const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] }));
        expect(Attributes).toMatchObject({ QueueArn: arn, VisibilityTimeout: `${visibilitySeconds}` });
        expect(JSON.parse(Attributes?.RedrivePolicy ?? "")).toMatchObject({ deadLetterTargetArn: deadLetters.arn });
      }
      for (const { name: FunctionName, role, timeoutSeconds, reads } of stack.functions) {
        const found = await lambda.send(new GetFunctionConfigurationCommand({ FunctionName }));
        expect(found).toMatchObject({ Role: role.arn, Timeout: timeoutSeconds, Runtime: "nodejs24.x" });
        const mappings = await stacks.mappingsOf(stack.region, FunctionName);
        expect(mappings.map(({ EventSourceArn }) => EventSourceArn)).toEqual(reads ? [reads.queue.arn] : []);
      }
      if (!stack.table) continue;
      const { Table } = await dynamo.send(new DescribeTableCommand({ TableName: stack.table.name }));
      expect(Table).toMatchObject({
        TableArn: stack.table.arn,
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
        BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
        DeletionProtectionEnabled: true,
      });
      // moto's CloudFormation ignores the key of a table.
      expect(Table?.SSEDescription).toBeUndefined();
    }
  });

  it.each(Object.keys(adaptations))("still have to be changed: %s", async (reason) => {
    const [{ name, region }] = deployment().layout.stacks;
    const template = adapted(name, reason);
    await stacks.prepare(region, template, secrets);

    await expect(stacks.create(region, name, template)).rejects.toThrow(/moto answered|was not created/);
  });
});

/** The template of a stack with all adaptations but one. */
function adapted(stack: string, without?: string): Template {
  const template = JSON.parse(deployment().templates.get(stack) ?? "") as Template;
  for (const [reason, adapt] of Object.entries(adaptations)) if (reason !== without) adapt(template);
  return template;
}
