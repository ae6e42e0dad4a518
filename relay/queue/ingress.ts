import type { OnDamaged } from "./damaged-file.ts";
import { EmbeddedQueue } from "./embedded.ts";
import { ingressQueue } from "./names.ts";
import type { CountedDeadLetters, OpenQueue } from "./port.ts";

/** The place of the ingress queue: a directory on this machine, or the URL of an SQS queue. Can be posted to a thread. */
export type IngressPlace =
  | {
      readonly kind: "embedded";
      readonly directory: string;
      /** See `QueueFileOptions`. */
      readonly maxBytes?: number;
    }
  | { readonly kind: "sqs"; readonly url: string };

/** Opens the queue between agents and host; creates a missing directory. Makes no call to SQS before the first use. */
export async function openIngress(place: IngressPlace, onDamaged?: OnDamaged): Promise<OpenQueue> {
  return place.kind === "sqs" ? openSqs(place.url) : openEmbeddedIngress(place, onDamaged);
}

/** @param onDamaged see `QueueFileOptions` */
export function openEmbeddedIngress(
  { directory, maxBytes }: Omit<Extract<IngressPlace, { kind: "embedded" }>, "kind">,
  onDamaged?: OnDamaged,
): EmbeddedQueue {
  return EmbeddedQueue.open({
    directory,
    name: ingressQueue,
    ...(maxBytes !== undefined && { maxBytes }),
    ...(onDamaged && { onDamaged }),
  });
}

/** Opens an SQS queue. Its dead letters are in the SQS queue of the same name with `-dlq`, unless `deadLetters` is given. */
export async function openSqs(url: string, deadLetters?: CountedDeadLetters): Promise<OpenQueue> {
  // Imported lazily: processes that do not use SQS should not load its SDK.
  const { openSqsQueue } = await import("./sqs.ts");
  return openSqsQueue(url, deadLetters);
}
