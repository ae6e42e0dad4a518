/** The queue that agents send packs to. */
export const ingressQueue = "ingress";

/** The queue with the packs for one target. */
export function targetQueue(targetName: string): string {
  return `${targetPrefix}${targetName}`;
}

/** The file of an embedded queue. */
export function queueFile(queueName: string): string {
  return `${queueName}${fileEnd}`;
}

/** The target whose embedded queue is in a file of this name; undefined for any other file. */
export function targetOfQueue(file: string): string | undefined {
  if (!file.startsWith(targetPrefix) || !file.endsWith(fileEnd)) return undefined;
  return file.slice(targetPrefix.length, -fileEnd.length);
}

const targetPrefix = "target-";
const fileEnd = ".queue.db";

/** The URL of the SQS queue with the dead letters of another queue. */
export function deadLetterUrl(queueUrl: string): string {
  return `${queueUrl}-dlq`;
}
