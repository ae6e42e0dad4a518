/** The queue that agents send packs to. */
export const ingressQueue = "ingress";

/** The queue with the packs for one target. */
export function targetQueue(targetName: string): string {
  return `target-${targetName}`;
}

/** The URL of the SQS queue with the dead letters of another queue. */
export function deadLetterUrl(queueUrl: string): string {
  return `${queueUrl}-dlq`;
}
