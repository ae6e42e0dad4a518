import { EmbeddedQueue } from "./embedded.ts";
import { ingressQueue } from "./names.ts";
import type { QueueReceiver, QueueSender } from "./port.ts";

/** Where the ingress queue is: a directory on this machine, or the URL of a queue in SQS. Can be sent to a thread. */
export type IngressPlace =
  | { readonly kind: "embedded"; readonly directory: string }
  | { readonly kind: "sqs"; readonly url: string };

/** What waits in the ingress queue: delayed and in flight included. */
interface IngressDepth {
  /** In SQS an estimate, which may be behind by a minute. */
  readonly messages: number;
  /** Undefined in SQS, which knows nothing of requests. */
  readonly requests?: number;
  /** Requests that the queue's retention has removed. Undefined in SQS, which tells nobody. */
  readonly expiredRequests?: number;
}

/** The queue between agents and host, opened. */
export interface Ingress {
  readonly queue: QueueSender & QueueReceiver;
  /** Throws `QueueError`. */
  depth(): Promise<IngressDepth>;
  close(): void;
}

/** Opens the queue; makes the directory where it is missing. In SQS nothing is asked before the first use. */
export async function openIngress(place: IngressPlace): Promise<Ingress> {
  return place.kind === "sqs" ? openSqs(place.url) : toIngress(openEmbeddedIngress(place.directory));
}

export function openEmbeddedIngress(directory: string): EmbeddedQueue {
  return EmbeddedQueue.open({ directory, name: ingressQueue });
}

export function toIngress(queue: EmbeddedQueue): Ingress {
  return {
    queue,
    async depth() {
      return { ...queue.depth(), expiredRequests: queue.expired().requests };
    },
    close: () => queue.close(),
  };
}

async function openSqs(url: string): Promise<Ingress> {
  // Only here, so that who does not use SQS pays nothing for its SDK.
  const { SqsQueue } = await import("./sqs.ts");
  const queue = new SqsQueue({ url });
  return { queue, depth: () => queue.depth(), close: () => queue.close() };
}
