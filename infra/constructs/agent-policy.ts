import { CfnOutput } from "aws-cdk-lib";
import { ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";
import { agentPolicyName } from "../permissions.ts";
import type { QueueLayout } from "../queue-layout.ts";
import type { RelayKey } from "./relay-key.ts";

/** For the role of the machines that agents run on: they may send to the ingress queue, and nothing else. */
export class AgentPolicy extends Construct {
  constructor(scope: Construct, { arn, name, region }: QueueLayout, key: RelayKey | undefined) {
    super(scope, "Agent");
    const policy = new ManagedPolicy(this, "Policy", {
      managedPolicyName: agentPolicyName({ name, region }),
      description: `For agents of spoa-relay: sending to the queue ${name} in ${region}`,
      statements: [
        new PolicyStatement({ actions: ["sqs:SendMessage"], resources: [arn] }),
        ...(key ? [key.sending] : []),
      ],
    });
    const output = new CfnOutput(this, "PolicyArn", {
      value: policy.managedPolicyArn,
      description: "To attach to the agents' role",
    });
    output.overrideLogicalId("AgentPolicy");
  }
}
