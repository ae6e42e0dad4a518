import { Duration } from "aws-cdk-lib";
import { Queue, QueueEncryption, RedrivePermission } from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import { ingressQueue } from "../../relay/queue/names.ts";
import { maxMessageBytes, sqsKeepMs } from "../../relay/queue/port.ts";
import type { QueueLayout } from "../queue-layout.ts";
import { removalPolicyOf, type StackContext } from "./relay-context.ts";
import { foreignStatements, toGrant } from "./statement.ts";

// A failed pack is delivered again after 5 s to 5 min, so 50 deliveries take hours. The functions move packs that cannot be decoded
// to the dead-letter queue at once, and any pack after 45 deliveries: SQS itself only moves packs that end their function.
const maxReceiveCount = 50;
// Twice as long as requests are kept, and the most that SQS allows: functions expire and count them, while SQS deletes messages
// without telling anybody, also those of a target that is paused.
const retention = Duration.millis(2 * sqsKeepMs);
// For a message that SQS itself moves, the days count from when its pack was sent.
const deadLetterRetention = Duration.days(14);

/** A queue of packs, and its dead-letter queue. */
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
        // Imported by its ARN: the queue itself is made after this one, because it refers to it.
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
