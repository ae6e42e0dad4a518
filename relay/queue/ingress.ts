import { EmbeddedQueue } from "./embedded.ts";
import { ingressQueue } from "./names.ts";
import type { CountedDeadLetters, OpenQueue } from "./port.ts";

/** Where the ingress queue is: a directory on this machine, or the URL of a queue in SQS. Can be sent to a thread. */
export type IngressPlace =
  | { readonly kind: "embedded"; readonly directory: string }
  | { readonly kind: "sqs"; readonly url: string };

/**
 * Opens the queue between agents and host; makes the directory where it is missing. In SQS nothing is asked before the
 * first use.
 */
export async function openIngress(place: IngressPlace): Promise<OpenQueue> {
  return place.kind === "sqs" ? openSqs(place.url) : openEmbeddedIngress(place.directory);
}

export function openEmbeddedIngress(directory: string): EmbeddedQueue {
  return EmbeddedQueue.open({ directory, name: ingressQueue });
}

/** Opens a queue in SQS. Its dead letters are in the queue beside it, unless they are kept elsewhere. */
export async function openSqs(url: string, deadLetters?: CountedDeadLetters): Promise<OpenQueue> {
  // Only here, so that who does not use SQS pays nothing for its SDK.
  const { openSqsQueue } = await import("./sqs.ts");
  return openSqsQueue(url, deadLetters);
}
