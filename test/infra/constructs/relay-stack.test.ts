import { Match, type Template } from "aws-cdk-lib/assertions";
import { describe, expect, it } from "vitest";
import { permissionsOf } from "../../../infra/permissions.ts";
import { synthesise, templatesOf } from "../../support/aws/synthesis.ts";
import { exampleNames, layoutOf } from "../../support/data/layouts.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";

const multiRegionKey = "mrk-0123456789abcdef0123456789abcdef";
const target = "  a: { url: https://a, rate: 1/s }";

interface Policy {
  readonly PolicyDocument: {
    readonly Statement: readonly { readonly Action: string | readonly string[]; readonly Resource: unknown }[];
  };
}

/** The template of a stack with these lines in its configuration. */
function stackOf(...lines: readonly string[]): Template {
  return synthesise(
    configFile("queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop", "state: dynamodb:shop", ...lines),
  ).templates.shop;
}

describe("all examples", () => {
  it.each(exampleNames)(
    "%s: functions are arm64 and Node 24, and have a log group of their own with a retention",
    (name) => {
      for (const template of Object.values(templatesOf(name))) {
        const functions = template.findResources("AWS::Lambda::Function");
        for (const { Properties } of Object.values(functions)) {
          expect(Properties).toMatchObject({ Architectures: ["arm64"], Runtime: "nodejs24.x" });
          template.hasResourceProperties("AWS::Logs::LogGroup", {
            LogGroupName: `/aws/lambda/${Properties.FunctionName}`,
            RetentionInDays: 30,
          });
        }
        expect(Object.keys(functions).length).toBeGreaterThan(0);
      }
    },
  );

  it.each(exampleNames)("%s: queues are encrypted, and refuse calls without TLS", (name) => {
    for (const template of Object.values(templatesOf(name))) {
      const queues = Object.entries(template.findResources("AWS::SQS::Queue"));
      for (const [id, { Properties }] of queues) {
        expect(Properties.SqsManagedSseEnabled === true || Properties.KmsMasterKeyId !== undefined).toBe(true);
        template.hasResourceProperties("AWS::SQS::QueuePolicy", {
          Queues: [{ Ref: id }],
          PolicyDocument: {
            Statement: Match.arrayWith([
              Match.objectLike({
                Effect: "Deny",
                Action: "sqs:*",
                Condition: { Bool: { "aws:SecureTransport": "false" } },
              }),
            ]),
          },
        });
      }
      expect(queues.length).toBeGreaterThan(0);
    }
  });
});

describe("a queue", () => {
  it("hides packs for six times the timeout of their function, and delivers them 50 times", () => {
    const { shop } = templatesOf("one-region");

    shop.hasResourceProperties("AWS::SQS::Queue", {
      QueueName: "shop",
      VisibilityTimeout: 6 * 300,
      MaximumMessageSize: 1_048_576,
      // Twice as long as requests are kept, so that functions expire and count them.
      MessageRetentionPeriod: 14 * 86_400,
      RedrivePolicy: { maxReceiveCount: 50 },
    });
    shop.hasResourceProperties("AWS::SQS::Queue", {
      QueueName: "shop-dlq",
      MessageRetentionPeriod: 14 * 86_400,
      RedriveAllowPolicy: {
        redrivePermission: "byQueue",
        sourceQueueArns: ["arn:aws:sqs:eu-central-1:111122223333:shop"],
      },
    });
  });

  it("accepts packs from the configured agents of other accounts", () => {
    templatesOf("two-accounts").shop.hasResourceProperties("AWS::SQS::QueuePolicy", {
      PolicyDocument: {
        Statement: Match.arrayWith([
          {
            Effect: "Allow",
            Action: "sqs:SendMessage",
            Principal: { AWS: "arn:aws:iam::777788889999:role/edge" },
            Resource: "arn:aws:sqs:eu-central-1:111122223333:shop",
          },
        ]),
      },
    });
  });

  it("of another account accepts packs from the roles of the relay only", () => {
    const policies = templatesOf("two-accounts")["shop-444455556666-eu-central-1"].findResources(
      "AWS::SQS::QueuePolicy",
      { Properties: { Queues: [{ Ref: Match.stringLikeRegexp("Packs") }] } },
    );

    const [policy] = Object.values(policies);
    const allowed = policy.Properties.PolicyDocument.Statement.filter(
      ({ Effect }: { readonly Effect: string }) => Effect === "Allow",
    );
    const principal = { AWS: "arn:aws:iam::111122223333:root" };
    const role = (name: string) => ({
      ArnEquals: { "aws:PrincipalArn": `arn:aws:iam::111122223333:role/shop-${name}-eu-central-1` },
    });
    expect(allowed).toMatchObject([
      { Action: "sqs:SendMessage", Principal: principal, Condition: role("fanout") },
      { Action: "sqs:SendMessage", Principal: principal, Condition: role("schedule") },
      { Action: ["sqs:GetQueueAttributes", "sqs:SendMessage"], Principal: principal, Condition: role("control") },
    ]);
  });
});

describe("the fan-out", () => {
  it("is deployed after the queues of its targets", () => {
    const { shop } = templatesOf("two-regions");
    const queues = Object.keys(shop.findResources("AWS::SQS::Queue"));
    const [{ DependsOn: before }] = Object.values(
      shop.findResources("AWS::Lambda::Function", { Properties: { FunctionName: "shop-fanout" } }),
    );

    expect(before).toEqual(expect.arrayContaining(queues));
  });
});

describe("the agents' policy", () => {
  it("allows sending to one queue", () => {
    templatesOf("one-region").shop.hasResourceProperties("AWS::IAM::ManagedPolicy", {
      ManagedPolicyName: "shop-agent-eu-central-1",
      PolicyDocument: {
        Statement: [
          { Effect: "Allow", Action: "sqs:SendMessage", Resource: "arn:aws:sqs:eu-central-1:111122223333:shop" },
        ],
      },
    });
  });

  it("also allows what an encrypted queue needs, and no more", () => {
    templatesOf("two-regions").shop.hasResourceProperties("AWS::IAM::ManagedPolicy", {
      PolicyDocument: {
        Statement: [
          { Action: "sqs:SendMessage", Resource: "arn:aws:sqs:eu-central-1:111122223333:shop" },
          { Action: ["kms:Decrypt", "kms:GenerateDataKey"], Resource: { "Fn::GetAtt": [Match.anyValue(), "Arn"] } },
        ].map((statement) => Match.objectEquals({ Effect: "Allow", ...statement })),
      },
    });
  });
});

describe("a mapping", () => {
  it("delivers ten packs at once, accepts failures one by one, and runs as many functions as the rate needs", () => {
    const { shop } = templatesOf("one-region");

    shop.resourceCountIs("AWS::Lambda::EventSourceMapping", 1);
    shop.hasResource("AWS::Lambda::EventSourceMapping", {
      Properties: {
        EventSourceArn: "arn:aws:sqs:eu-central-1:111122223333:shop",
        BatchSize: 10,
        MaximumBatchingWindowInSeconds: 2,
        FunctionResponseTypes: ["ReportBatchItemFailures"],
        ScalingConfig: { MaximumConcurrency: 7 },
      },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp("^QueueingressPacks")]),
    });
  });

  it("belongs to a function that is allowed to loop through its own queue", () => {
    templatesOf("one-region").shop.hasResourceProperties("AWS::Lambda::Function", {
      FunctionName: "shop-replay-staging",
      RecursiveLoop: "Allow",
      Timeout: 300,
    });
  });
});

describe("a replay", () => {
  it("may read the secrets of its own target in Secrets Manager, and no others", () => {
    const { shop, "shop-us-east-1": virginia } = templatesOf("two-regions");

    shop.hasResourceProperties("AWS::Lambda::Function", {
      FunctionName: "shop-replay-staging",
      Environment: {
        Variables: {
          RELAY_TARGET: "staging",
          RELAY_SECRETS: '{"STAGING_KEY":{"id":"shop/staging","field":"key"}}',
          STAGING_KEY: Match.absent(),
        },
      },
    });
    virginia.hasResourceProperties("AWS::Lambda::Function", {
      Environment: { Variables: Match.objectEquals({ RELAY_TARGET: "virginia" }) },
    });
    const readers = (template: Template) =>
      Object.values(template.findResources("AWS::IAM::Role")).flatMap(({ Properties: { RoleName, Policies = [] } }) =>
        Policies.flatMap(({ PolicyDocument: { Statement } }: Policy) =>
          Statement.filter(({ Action }) => [Action].flat().some((action) => action.startsWith("secretsmanager:"))).map(
            ({ Action, Resource }) => [RoleName, Action, Resource],
          ),
        ),
      );
    expect(readers(shop)).toEqual([
      [
        "shop-replay-staging-eu-central-1",
        "secretsmanager:GetSecretValue",
        "arn:aws:secretsmanager:eu-central-1:111122223333:secret:shop/staging-??????",
      ],
    ]);
    expect(readers(virginia)).toEqual([]);
  });

  it("may read a secret whose ARN is written with or without its last six characters", () => {
    const arn = "arn:aws:secretsmanager:eu-central-1:444455556666:secret:key";
    const layout = layoutOf([
      "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
      "state: dynamodb:shop",
      "targets: { a: { url: https://a, rate: 1/s, headers: { set: { x-a: { env: KEY }, x-b: { env: TOKEN } } } } }",
      `aws: { secrets: { KEY: "${arn}#a", TOKEN: "${arn}#b" } }`,
    ]);
    const replay = layout.stacks[0].functions.find(({ kind }) => kind === "replay");

    expect(replay && permissionsOf(replay, layout)).toContainEqual({
      actions: ["secretsmanager:GetSecretValue"],
      resources: [arn, `${arn}-??????`],
    });
  });

  it("runs in the network of its shadow", () => {
    const { shop, "shop-us-east-1": virginia } = templatesOf("two-regions");

    virginia.hasResourceProperties("AWS::Lambda::Function", {
      VpcConfig: { SubnetIds: ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], SecurityGroupIds: ["sg-0a1b2c3d"] },
    });
    shop.allResourcesProperties("AWS::Lambda::Function", Match.objectLike({ VpcConfig: Match.absent() }));
  });

  it("has the managed policies that its target names", () => {
    const policy = "arn:aws:iam::111122223333:policy/call-api";
    const shop = stackOf("targets:", `  a: { url: https://a, rate: 1/s, policies: ["${policy}"] }`);

    shop.hasResourceProperties("AWS::IAM::Role", {
      RoleName: "shop-replay-a-eu-central-1",
      ManagedPolicyArns: [policy],
    });
  });
});

describe("the table", () => {
  it("can be restored, expires old items, and cannot be deleted by mistake", () => {
    templatesOf("one-region").shop.hasResource("AWS::DynamoDB::Table", {
      Properties: {
        TableName: "shop",
        BillingMode: "PAY_PER_REQUEST",
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
        TimeToLiveSpecification: { AttributeName: "expiresAt", Enabled: true },
        DeletionProtectionEnabled: true,
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
      },
      DeletionPolicy: "RetainExceptOnCreate",
    });
  });

  it("is made after everything but what invokes functions, since a protected table cannot be rolled back", () => {
    const { shop } = templatesOf("two-regions");
    const [[id, { DependsOn: before }]] = Object.entries(shop.findResources("AWS::DynamoDB::Table"));
    const starters = Object.entries(shop.toJSON().Resources as Record<string, { Type: string; DependsOn: string[] }>)
      .filter(([name, { Type }]) => Type === "AWS::Lambda::EventSourceMapping" || name.startsWith("EachMinute"))
      .map(([name, { DependsOn }]) => ({ name, after: DependsOn.includes(id) }));

    expect(starters.map(({ after }) => after)).toEqual([true, true, true, true]);
    expect([...before].sort()).toEqual(
      Object.keys(shop.toJSON().Resources)
        .filter((other) => other !== id && !starters.some(({ name }) => name === other))
        .sort(),
    );
  });

  it("allows the replay function of another account to use the items of its target only", () => {
    const statement = {
      Effect: "Allow",
      Principal: { AWS: "arn:aws:iam::444455556666:root" },
      Resource: "arn:aws:dynamodb:eu-central-1:111122223333:table/shop",
    };
    const allowing = (...partitions: readonly string[]) => ({
      "ForAllValues:StringLike": { "dynamodb:LeadingKeys": partitions },
      ArnEquals: { "aws:PrincipalArn": "arn:aws:iam::444455556666:role/shop-replay-tests-eu-central-1" },
    });

    templatesOf("two-accounts").shop.hasResourceProperties("AWS::DynamoDB::Table", {
      ResourcePolicy: {
        PolicyDocument: {
          Statement: [
            {
              ...statement,
              Action: ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"],
              Condition: allowing("pack#*"),
            },
            {
              ...statement,
              Action: ["dynamodb:GetItem", "dynamodb:UpdateItem"],
              Condition: allowing("target#tests", "tally#*", "tally"),
            },
            { ...statement, Action: "dynamodb:UpdateItem", Condition: allowing("minute#tests") },
            { ...statement, Action: "dynamodb:GetItem", Condition: allowing("job") },
          ],
        },
      },
    });
  });
});

describe("the bucket of captures", () => {
  it("is private, and keeps objects for the time of each capture", () => {
    templatesOf("captures-only").shop.hasResourceProperties("AWS::S3::Bucket", {
      BucketName: "shop-captures",
      PublicAccessBlockConfiguration: {
        BlockPublicAcls: true,
        BlockPublicPolicy: true,
        IgnorePublicAcls: true,
        RestrictPublicBuckets: true,
      },
      LifecycleConfiguration: {
        Rules: [
          { Id: "orders", Prefix: "orders/orders/", ExpirationInDays: 30, Status: "Enabled" },
          { Id: "carts", Prefix: "carts/", ExpirationInDays: 2, Status: "Enabled" },
        ],
      },
    });
  });
});

describe("targets in other accounts than the table", () => {
  const inOthers = (count: number) =>
    synthesise(
      configFile(
        "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
        "state: dynamodb:arn:aws:dynamodb:eu-central-1:111122223333:table/shop",
        "targets:",
        ...Array.from(
          { length: count },
          (_, i) =>
            `  t${i}: { url: https://t, rate: 1/s, queue: https://sqs.eu-central-1.amazonaws.com/44445555666${i % 10}/t${i} }`,
        ),
      ),
    ).templates.shop;

  it("are accepted as long as DynamoDB accepts the table's policy", () => {
    const [table] = Object.values(inOthers(10).findResources("AWS::DynamoDB::Table"));

    expect(JSON.stringify(table.Properties.ResourcePolicy.PolicyDocument).length).toBeLessThanOrEqual(20_480);
  });

  it("are refused if the policy would be too large", () => {
    expect(() => inOthers(20)).toThrow(/targets: too many are in other accounts .* \d{5} bytes/);
  });
});

describe("captures and a table in two accounts", () => {
  it("are merged by the schedule in the account of the table, which the bucket allows", () => {
    const { templates } = synthesise(
      configFile(
        "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
        "state: dynamodb:arn:aws:dynamodb:eu-central-1:444455556666:table/shop",
        "targets: { a: { url: https://a, rate: 1/s, queue: https://sqs.eu-central-1.amazonaws.com/444455556666/a } }",
        "captures: { orders: { store: s3://kept } }",
      ),
    );
    const schedule = {
      Principal: { AWS: "arn:aws:iam::444455556666:root" },
      Condition: { ArnEquals: { "aws:PrincipalArn": "arn:aws:iam::444455556666:role/shop-schedule-eu-central-1" } },
    };

    templates.shop.hasResourceProperties("AWS::S3::BucketPolicy", {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            ...schedule,
            Action: ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"],
            Resource: "arn:aws:s3:::kept/orders/*",
          }),
          Match.objectLike({ ...schedule, Action: "s3:ListBucket", Resource: "arn:aws:s3:::kept" }),
        ]),
      },
    });
  });
});

describe("a resource that holds data", () => {
  const holders = ["AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key"];

  it.each([
    ["two-regions", "RetainExceptOnCreate"],
    ["captures-only", "Delete"],
  ] as const)("in %s has the deletion policy %s", (name, policy) => {
    for (const template of Object.values(templatesOf(name))) {
      for (const type of holders) {
        for (const { DeletionPolicy } of Object.values(template.findResources(type)))
          expect(DeletionPolicy).toBe(policy);
      }
    }
  });
});

describe("a key", () => {
  it("of the stack's own is made in each region, and is rotated each year", () => {
    for (const template of Object.values(templatesOf("two-regions"))) {
      template.hasResourceProperties("AWS::KMS::Key", { EnableKeyRotation: true });
      template.hasResourceProperties("AWS::KMS::Alias", { AliasName: "alias/shop" });
      template.allResourcesProperties("AWS::SQS::Queue", { KmsMasterKeyId: Match.anyValue() });
      template.allResourcesProperties("AWS::Lambda::Function", { KmsKeyArn: Match.anyValue() });
    }
  });

  it("that the configuration names is used as it is", () => {
    const key = `arn:aws:kms:eu-central-1:111122223333:key/${multiRegionKey}`;
    const shop = stackOf("targets:", target, `aws: { key: "${key}" }`);

    shop.resourceCountIs("AWS::KMS::Key", 0);
    shop.allResourcesProperties("AWS::SQS::Queue", { KmsMasterKeyId: key });
    shop.hasResourceProperties("AWS::DynamoDB::Table", { SSESpecification: { KMSMasterKeyId: key } });
  });

  it("that is a multi-Region key is used in every region, and another key is refused", () => {
    const files = (key: string) =>
      configFile(
        "queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop",
        "state: dynamodb:shop",
        "targets:",
        "  a: { url: https://a, rate: 1/s, region: eu-west-1 }",
        `aws: { key: "arn:aws:kms:eu-central-1:111122223333:key/${key}" }`,
      );

    synthesise(files(multiRegionKey)).templates["shop-eu-west-1"].allResourcesProperties("AWS::SQS::Queue", {
      KmsMasterKeyId: `arn:aws:kms:eu-west-1:111122223333:key/${multiRegionKey}`,
    });
    expect(() => synthesise(files("01234567-89ab-cdef-0123-456789abcdef"))).toThrow(
      /aws\.key: this key is in eu-central-1 and cannot be used in eu-west-1/,
    );
  });
});

describe("the schedule", () => {
  it("is invoked each minute, and a failed invocation is not retried", () => {
    const { shop } = templatesOf("one-region");

    shop.hasResourceProperties("AWS::Scheduler::Schedule", {
      ScheduleExpression: "rate(1 minute)",
      Target: {
        Arn: "arn:aws:lambda:eu-central-1:111122223333:function:shop-schedule",
        RetryPolicy: { MaximumRetryAttempts: 0 },
      },
    });
    shop.hasResourceProperties("AWS::Lambda::EventInvokeConfig", { MaximumRetryAttempts: 0 });
  });

  it("is allowed to switch the mappings of the replay functions, and no others", () => {
    templatesOf("two-regions").shop.hasResourceProperties("AWS::IAM::Role", {
      RoleName: "shop-schedule-eu-central-1",
      Policies: [
        {
          PolicyDocument: {
            Statement: Match.arrayWith([
              {
                Effect: "Allow",
                Action: "lambda:UpdateEventSourceMapping",
                Resource: [
                  "arn:aws:lambda:eu-central-1:111122223333:event-source-mapping:*",
                  "arn:aws:lambda:us-east-1:111122223333:event-source-mapping:*",
                ],
                Condition: {
                  ArnEquals: {
                    "lambda:FunctionArn": [
                      "arn:aws:lambda:eu-central-1:111122223333:function:shop-replay-staging",
                      "arn:aws:lambda:us-east-1:111122223333:function:shop-replay-virginia",
                    ],
                  },
                },
              },
            ]),
          },
        },
      ],
    });
  });
});

describe("the control API", () => {
  it("has a URL for signed requests only, and 30 s for each", () => {
    const { shop } = templatesOf("one-region");

    shop.hasResourceProperties("AWS::Lambda::Url", { AuthType: "AWS_IAM" });
    shop.hasResourceProperties("AWS::Lambda::Function", { FunctionName: "shop-control", Timeout: 30 });
    shop.hasOutput("ControlUrl", {
      Description: "Write this URL as control: into the spoa-relay.yaml that commands use",
    });
  });
});

describe("tags", () => {
  it("are on every resource", () => {
    const { shop } = templatesOf("two-regions");

    for (const type of ["AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::DynamoDB::Table", "AWS::S3::Bucket"]) {
      shop.allResourcesProperties(type, { Tags: Match.arrayWith([{ Key: "team", Value: "shop" }]) });
    }
  });
});

describe("a change of the rate", () => {
  it("replaces nothing: every resource keeps its id and its name", () => {
    const at = (rate: string) => stackOf("targets:", `  a: { url: https://a, rate: ${rate} }`).toJSON().Resources;
    const [before, after] = [at("1/s"), at("500/s")];

    const changed = Object.keys(before).filter((id) => JSON.stringify(before[id]) !== JSON.stringify(after[id]));
    expect(Object.keys(after)).toEqual(Object.keys(before));
    // The code and the concurrency change: Lambda updates both in place.
    expect([...new Set(changed.map((id) => before[id].Type))].sort()).toEqual([
      "AWS::Lambda::EventSourceMapping",
      "AWS::Lambda::Function",
    ]);
    for (const id of changed) {
      expect(after[id].Properties.FunctionName).toEqual(before[id].Properties.FunctionName);
      expect(after[id].Properties.EventSourceArn).toEqual(before[id].Properties.EventSourceArn);
    }
  });
});
