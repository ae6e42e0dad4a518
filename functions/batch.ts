import { type Context, Hono } from "hono";
import type { Logger } from "../relay/log/log.ts";
import type { Delivery } from "../relay/queue/port.ts";
import { StateError } from "../relay/state/port.ts";
import { parseSqsEvent, type SqsBatchResponse } from "./sqs-event.ts";

/** What the owner of an invocation gives to it. */
export interface Invocation {
  /** Raised when the invocation has to end: what is not done by then is handed back. */
  readonly signal?: AbortSignal;
  /** True where waiting costs nothing: for a target that is held, or a state store that does not answer. Else it is handed back. */
  readonly patient?: boolean;
}

/** Whether a delivery is done, or has to come again. */
export type Handled = "done" | "again";

/**
 * A Hono app that takes an SQS event by POST and answers `batchItemFailures`. The deliveries of a batch are handled side by
 * side, and the failure of one does not touch the others.
 *
 * @param finish called when all are handled; must not reject
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
          // A state store that does not answer has been complained of, once for all packs.
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
    // Not its message, which may hold a part of the event.
    log.error({ event: "bad-event", reason: error.name }, "the body is not an SQS event");
    return context.text("the body is not an SQS event\n", 500);
  });
  return app;
}
