import { Duration, RemovalPolicy, Validations } from "aws-cdk-lib";
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
import type { Permission } from "../permission.ts";
import { permissionsOf } from "../permissions.ts";
import { withCode } from "./function-code.ts";
import type { StackContext } from "./relay-context.ts";
import { keyPermissions } from "./relay-key.ts";
import { toStatement } from "./statement.ts";

// One call deletes up to ten messages; the mapping waits for that many, otherwise each pack would cost a call of its own. An event
// holds 6 MB: many more packs of 64 KiB would fit, but few of one megabyte.
const batchSize = 10;
const batchWindow = Duration.seconds(2);

/** A function with its role, its log group and, if it reads a queue, its event source mapping. */
export class RelayFunction extends Construct {
  readonly function: LambdaFunction;
  /** Only if the function reads a queue. */
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
          environment: { ...layout.environment },
          // Packs that wait or are retried are sent back to their queue as new messages. For Lambda that is a recursive loop,
          // which it would stop after sixteen rounds.
          ...(reads && { recursiveLoop: RecursiveLoop.ALLOW }),
          // No retries: the next minute's invocation does the work.
          ...(kind === "schedule" && { retryAttempts: 0, maxEventAge: Duration.seconds(60) }),
        }),
    );
    // Set on the resource itself: through the construct they would add permissions that the role does not need.
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
    // Inline, so that they exist with the role: Lambda refuses a mapping whose function is not yet allowed to receive.
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
      return "Sends packs from the ingress queue to the queues of targets and to captures";
    case "replay":
      return `Sends requests to ${target}, at its rate`;
    case "schedule":
      return "Feeds replay jobs, merges captures, and switches the mappings of targets that are held";
    case "control":
      return "The control API";
  }
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
  wildcard:
    "Lambda creates the network interfaces of the function, and describing them supports no resource in a policy",
};
