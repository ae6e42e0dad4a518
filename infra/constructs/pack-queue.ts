import { Duration } from "aws-cdk-lib";
import { Queue, QueueEncryption, RedrivePermission } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { ingressQueue } from "../../relay/queue/names.ts";
import { maxMessageBytes } from "../../relay/queue/port.ts";
import type { QueueLayout } from "../queue-layout.ts";
import { removalPolicyOf, type StackContext } from "./relay-context.ts";
import { foreignStatements, toGrant } from "./statement.ts";

// What goes wrong with a pack brings it back after 5 s to 5 min, so that this is hours. What cannot be decoded the functions
// themselves put to the dead letters, at once, and they give up a pack after 45 times: what SQS moves ended its process.
const maxReceiveCount = 50;
// A pause of a long weekend; a dead letter counts its days from when its pack was sent, if SQS has moved it.
const retention = Duration.days(7);
const deadLetterRetention = Duration.days(14);

/** A queue of packs, and the queue of its dead letters. */
export class PackQueue extends Construct {
  readonly queue: Queue;
  readonly deadLetters: Queue;

  static idOf({ owner }: QueueLayout): string {
    return `Queue-${owner}`;
  }

  constructor(scope: Construct, layout: QueueLayout, context: StackContext) {
    super(scope, PackQueue.idOf(layout));
    const { config, key } = context;
    const shared = {
      enforceSSL: true,
      maxMessageSizeBytes: maxMessageBytes,
      removalPolicy: removalPolicyOf(config),
      ...(key
        ? { encryption: QueueEncryption.KMS, encryptionMasterKey: key, dataKeyReuse: Duration.hours(1) }
        : { encryption: QueueEncryption.SQS_MANAGED }),
    };
    this.deadLetters = new Queue(this, "DeadLetters", {
      ...shared,
      queueName: layout.deadLetters.name,
      retentionPeriod: deadLetterRetention,
      redriveAllowPolicy: {
        redrivePermission: RedrivePermission.BY_QUEUE,
        // By its name: the queue itself needs this one to be there.
        sourceQueues: [Queue.fromQueueArn(this, "Source", layout.arn)],
      },
    });
    this.queue = new Queue(this, "Packs", {
      ...shared,
      queueName: layout.name,
      retentionPeriod: retention,
      visibilityTimeout: Duration.seconds(layout.visibilitySeconds),
      deadLetterQueue: { queue: this.deadLetters, maxReceiveCount },
    });
    const { account } = layout;
    for (const [queue, arn] of [
      [this.queue, layout.arn],
      [this.deadLetters, layout.deadLetters.arn],
    ] as const) {
      for (const statement of foreignStatements({ arn, account }, context.layout)) queue.addToResourcePolicy(statement);
    }
    const { agents } = config.deployment;
    if (layout.owner === ingressQueue && agents.length > 0) {
      this.queue.addToResourcePolicy(toGrant(agents, { actions: ["sqs:SendMessage"], resources: [layout.arn] }));
    }
  }
}
