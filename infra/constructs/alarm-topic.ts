import { RemovalPolicy } from "aws-cdk-lib";
import { PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { type IKey, Key } from "aws-cdk-lib/aws-kms";
import { Topic } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import { Construct } from "constructs";
import type { Layout, StackLayout } from "../layout.ts";

/** The topic of the alarms, which mails them to an address. The owner of the address must confirm the subscription. */
export class AlarmTopic extends Construct {
  readonly topic: Topic;

  /** @param given the key of the stack, if `aws.key` is set */
  constructor(scope: Construct, email: string, { account }: StackLayout, given: IKey | undefined, { name }: Layout) {
    super(scope, "Topic");
    const publisher = {
      principals: [new ServicePrincipal("cloudwatch.amazonaws.com")],
      conditions: { StringEquals: { "aws:SourceAccount": account } },
    };
    // CloudWatch cannot use the AWS managed key of SNS, and possibly no key that was made elsewhere: mails would be lost.
    const key =
      given instanceof Key
        ? given
        : new Key(this, "Key", {
            description: `Alarms of ${name}`,
            enableKeyRotation: true,
            removalPolicy: RemovalPolicy.DESTROY,
          });
    key.addToResourcePolicy(
      new PolicyStatement({ ...publisher, actions: ["kms:Decrypt", "kms:GenerateDataKey*"], resources: ["*"] }),
    );
    this.topic = new Topic(this, "Alarms", { topicName: `${name}-alarms`, masterKey: key, enforceSSL: true });
    // A topic with a policy of its own no longer accepts the alarms of its account by default: allow them.
    this.topic.addToResourcePolicy(
      new PolicyStatement({ ...publisher, actions: ["sns:Publish"], resources: [this.topic.topicArn] }),
    );
    this.topic.addSubscription(new EmailSubscription(email));
  }
}
