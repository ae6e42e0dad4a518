import { type Context, Hono } from "hono";
import type { Logger } from "../relay/log/log.ts";
import type { Delivery } from "../relay/queue/port.ts";
import { StateError } from "../relay/state/port.ts";
import { parseSqsEvent, type SqsBatchResponse } from "./sqs-event.ts";

/** How the owner of an invocation, Lambda's handler or the host's poller, limits it. */
export interface Invocation {
  /** Aborted when the invocation must end: it hands back the work that is not done by then. */
  readonly signal?: AbortSignal;
  /**
   * True if waiting costs nothing: then the invocation waits while its target is held or the state store does not answer.
   * Otherwise it hands the work back.
   */
  readonly patient?: boolean;
}

/** Whether a delivery is done, or must be delivered again. */
export type Handled = "done" | "again";

/**
 * A Hono app that receives an SQS event by POST and answers with `batchItemFailures`. It handles the deliveries of a batch
 * concurrently; the failure of one does not affect the others.
 *
 * @param finish called when all deliveries are handled; must not reject
 */
export function createBatchApp(
  log: Logger,
  handle: (delivery: Delivery, invocation: Required<Invocation>) => Promise<Handled>,
  finish: (invocation: Required<Invocation>) => Promise<void> = async () => {},
): Hono<{ Bindings: Invocation }> {
  const app = new Hono<{ Bindings: Invocation }>();
  app.post("/", async (context: Context<{ Bindings: Invocation }>) => {
    const { signal = new AbortController().signal, patient = false } = context.env ?? {};
    const invocation = { signal, patient };
    const deliveries = parseSqsEvent(await context.req.json());
    const results = await Promise.all(
      deliveries.map((delivery) =>
        handle(delivery, invocation).catch((error: Error) => {
          // StatePatience has logged that the state store does not answer, once for all packs.
          if (!(error instanceof StateError)) {
            const about = { message: delivery.messageId, reason: error.message };
            log.error(
              { event: "delivery-failed", ...about },
              "handling a pack failed: the queue will deliver it again",
            );
          }
          return "again" as const;
        }),
      ),
    );
    await finish(invocation);
    const again = deliveries.filter((_delivery, i) => results[i] === "again");
    const response: SqsBatchResponse = {
      batchItemFailures: again.map((delivery) => ({ itemIdentifier: delivery.messageId })),
    };
    return context.json(response);
  });
  app.onError((error, context) => {
    // The name only: the message may contain a part of the event.
    log.error({ event: "bad-event", reason: error.name }, "the body is not an SQS event");
    return context.text("the body is not an SQS event\n", 500);
  });
  return app;
}
