import { RemovalPolicy } from "aws-cdk-lib";
import { PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { type IKey, Key } from "aws-cdk-lib/aws-kms";
import { Topic } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import { Construct } from "constructs";
import type { Layout, StackLayout } from "../layout.ts";

/** Where alarms go, and from there to an e-mail address, whose owner has to confirm it. */
export class AlarmTopic extends Construct {
  readonly topic: Topic;

  /** @param given the key of the stack, if it has one */
  constructor(scope: Construct, email: string, { account }: StackLayout, given: IKey | undefined, { name }: Layout) {
    super(scope, "Topic");
    const publisher = {
      principals: [new ServicePrincipal("cloudwatch.amazonaws.com")],
      conditions: { StringEquals: { "aws:SourceAccount": account } },
    };
    // The key that AWS has for SNS does not let CloudWatch in, and one that was made elsewhere may not: nobody would be told.
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
    // With a policy of its own a topic is open to nobody else, not even to the alarms of its account.
    this.topic.addToResourcePolicy(
      new PolicyStatement({ ...publisher, actions: ["sns:Publish"], resources: [this.topic.topicArn] }),
    );
    this.topic.addSubscription(new EmailSubscription(email));
  }
}
