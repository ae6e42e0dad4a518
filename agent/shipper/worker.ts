import type { MessagePort } from "node:worker_threads";
import { openIngress } from "../../relay/queue/ingress.ts";
import { yieldToOthers } from "../thread-priority.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./messages.ts";
import { Shipping } from "./shipping.ts";

/** Runs in the shipper thread. Resolves when the thread is ready; the port keeps messages that arrive earlier. */
export async function runShipperWorker(port: MessagePort, options: WorkerOptions): Promise<void> {
  yieldToOthers();
  const ingress = await openIngress(options.ingress);
  const shipping = new Shipping({
    agent: options.agent,
    queue: ingress.queue,
    ...(options.journal && { journal: options.journal }),
    post: (message, transfer) => port.postMessage(message, transfer),
  });
  port.postMessage({ kind: "started" } satisfies FromWorker);
  port.on("message", (message: ToWorker) => {
    if (message.kind === "pack") {
      shipping.add(message);
      return;
    }
    shipping.finish(message.withinMs).then(() => {
      ingress.close();
      port.postMessage({ kind: "stopped" } satisfies FromWorker);
      port.close();
    });
  });
}
