import type { MessagePort } from "node:worker_threads";
import { openIngress } from "../../relay/queue/ingress.ts";
import { yieldToOthers } from "../thread-priority.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./messages.ts";
import { Shipping } from "./shipping.ts";

/**
 * Runs in the shipper thread until it is told to stop; the port keeps messages that arrive before it is ready. A rejection ends
 * the thread, and its `Shipper` counts the requests that are lost.
 */
export async function runShipperWorker(port: MessagePort, options: WorkerOptions): Promise<void> {
  yieldToOthers();
  const ingress = await openIngress(options.ingress, (damaged) =>
    port.postMessage({ kind: "queueDamaged", damaged } satisfies FromWorker),
  );
  const shipping = new Shipping({
    agent: options.agent,
    queue: ingress.entrance,
    ...(options.journal && { journal: options.journal }),
    post: (message, transfer) => port.postMessage(message, transfer),
  });
  port.postMessage({ kind: "started" } satisfies FromWorker);
  const { promise: stopRequested, resolve: stopWithin } = Promise.withResolvers<number>();
  port.on("message", (message: ToWorker) => {
    if (message.kind === "pack") shipping.add(message);
    else if (message.kind === "ask") port.postMessage({ kind: "present" } satisfies FromWorker);
    else stopWithin(message.withinMs);
  });
  await shipping.finish(await stopRequested);
  ingress.close();
  port.postMessage({ kind: "stopped" } satisfies FromWorker);
  port.close();
}
