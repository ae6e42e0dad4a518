/** Where agents put packs. */
export const ingressQueue = "ingress";

/** Where the packs for one target wait. */
export function targetQueue(targetName: string): string {
  return `target-${targetName}`;
}

/** The URL of the queue in SQS that has the dead letters of another one. */
export function deadLetterUrl(queueUrl: string): string {
  return `${queueUrl}-dlq`;
}
