import { CfnOutput } from "aws-cdk-lib";
import { ManagedPolicy, PolicyStatement } from "aws-cdk-lib/aws-iam";
import { Construct } from "constructs";
import { agentPolicyName } from "../permissions.ts";
import type { QueueLayout } from "../queue-layout.ts";
import type { RelayKey } from "./relay-key.ts";

/** A managed policy for the role of the machines that agents run on: it allows sending to the ingress queue, nothing else. */
export class AgentPolicy extends Construct {
  constructor(scope: Construct, { arn, name, region }: QueueLayout, key: RelayKey | undefined) {
    super(scope, "Agent");
    const policy = new ManagedPolicy(this, "Policy", {
      managedPolicyName: agentPolicyName({ name, region }),
      description: `Allows agents of spoa-relay to send to the queue ${name} in ${region}`,
      statements: [
        new PolicyStatement({ actions: ["sqs:SendMessage"], resources: [arn] }),
        ...(key ? [key.sending] : []),
      ],
    });
    const output = new CfnOutput(this, "PolicyArn", {
      value: policy.managedPolicyArn,
      description: "Attach this policy to the role of the agents",
    });
    output.overrideLogicalId("AgentPolicy");
  }
}
