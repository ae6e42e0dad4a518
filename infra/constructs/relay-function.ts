import { Duration, RemovalPolicy, SecretValue, Validations } from "aws-cdk-lib";
import { ManagedPolicy, PolicyDocument, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import {
  Architecture,
  type CfnFunction,
  EventSourceMapping,
  Function as LambdaFunction,
  RecursiveLoop,
  Runtime,
} from "aws-cdk-lib/aws-lambda";
import { LogGroup } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import { handlerName } from "../../relay/deployed/functions.ts";
import type { FunctionLayout } from "../function-layout.ts";
import { type Permission, permissionsOf } from "../permissions.ts";
import { withCode } from "./function-code.ts";
import type { StackContext } from "./relay-context.ts";
import { keyPermissions } from "./relay-key.ts";
import { toStatement } from "./statement.ts";

// Ten packs are deleted with one call; the window waits for as many, or each would pay for a call of its own. An event holds
// 6 MB: more than ten packs of 64 KiB would do, but few of a megabyte.
const batchSize = 10;
const batchWindow = Duration.seconds(2);

/** A function with its role, its log, and the mapping that brings packs to it. */
export class RelayFunction extends Construct {
  readonly function: LambdaFunction;
  /** Of a function that takes packs. */
  readonly mapping?: EventSourceMapping;

  constructor(scope: Construct, id: string, layout: FunctionLayout, context: StackContext) {
    super(scope, id);
    const { kind, name, reads, vpc } = layout;
    const { config, key } = context;
    const logGroup = new LogGroup(this, "Log", {
      logGroupName: `/aws/lambda/${name}`,
      retention: config.deployment.logDays,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = createRole(this, layout, logGroup, context);
    this.function = withCode(
      layout,
      context,
      (code) =>
        new LambdaFunction(this, "Function", {
          functionName: name,
          description: describe(layout),
          runtime: Runtime.NODEJS_24_X,
          architecture: Architecture.ARM_64,
          handler: handlerName(kind),
          code,
          role,
          logGroup,
          timeout: Duration.seconds(layout.timeoutSeconds),
          memorySize: layout.memoryMb,
          environment: { ...layout.environment, ...resolveSecrets(layout) },
          // Packs that wait, or are tried again, go back into their queue as new messages. To Lambda that is a loop, which it
          // would end after sixteen rounds.
          ...(reads && { recursiveLoop: RecursiveLoop.ALLOW }),
          // The next minute does what this one did not.
          ...(kind === "schedule" && { retryAttempts: 0, maxEventAge: Duration.seconds(60) }),
        }),
    );
    // By hand: the construct would take these for a chance to give the role more than it needs.
    const written = this.function.node.defaultChild as CfnFunction;
    if (key) written.kmsKeyArn = key.keyArn;
    if (vpc) written.vpcConfig = { subnetIds: [...vpc.subnets], securityGroupIds: [...vpc.securityGroups] };
    if (reads) {
      this.mapping = new EventSourceMapping(this, "Mapping", {
        target: this.function,
        eventSourceArn: reads.queue.arn,
        batchSize,
        maxBatchingWindow: batchWindow,
        maxConcurrency: reads.maxConcurrency,
        reportBatchItemFailures: true,
      });
    }
  }
}

function createRole(scope: Construct, layout: FunctionLayout, logGroup: LogGroup, context: StackContext): Role {
  const permissions = [
    ...permissionsOf(layout, context.layout),
    ...keyPermissions(layout, context),
    ...(layout.vpc ? [joinNetwork] : []),
  ];
  const role = new Role(scope, "Role", {
    roleName: layout.role.name,
    assumedBy: new ServicePrincipal("lambda.amazonaws.com"),
    managedPolicies: layout.policies.map((arn, i) => ManagedPolicy.fromManagedPolicyArn(scope, `Policy${i}`, arn)),
    // In the role itself: a mapping cannot be made before its function may receive.
    inlinePolicies: {
      relay: new PolicyDocument({
        statements: [
          ...permissions.map(toStatement),
          new PolicyStatement({
            actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
            resources: [logGroup.logGroupArn],
          }),
        ],
      }),
    },
  });
  for (const { resources, wildcard } of permissions) {
    if (wildcard === undefined) continue;
    for (const arn of resources) {
      Validations.of(role).acknowledge({ id: `AwsSolutions-IAM5[Resource::${arn}]`, reason: wildcard });
    }
  }
  return role;
}

function describe({ kind, target }: FunctionLayout): string {
  switch (kind) {
    case "fanout":
      return "Takes packs from the ingress queue to the targets' queues, and to captures";
    case "replay":
      return `Sends requests to ${target}, at its rate`;
    case "schedule":
      return "Feeds replay jobs, merges captures, and switches replays off that have to wait";
    case "control":
      return "The control API";
  }
}

/** References that CloudFormation follows: the values are in no template. */
function resolveSecrets({ secrets }: FunctionLayout): Record<string, string> {
  return Object.fromEntries(
    Object.entries(secrets).map(([variable, { id, field }]) => [
      variable,
      SecretValue.secretsManager(id, field === undefined ? {} : { jsonField: field }).unsafeUnwrap(),
    ]),
  );
}

const joinNetwork: Permission = {
  actions: [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ],
  resources: ["*"],
  wildcard: "Lambda makes the network interfaces of a function, and lists of them have no resource",
};
