import { type Logger, Throttle } from "../relay/log/log.ts";
import { withoutMarks } from "../relay/queue/message.ts";
import type { Delivery } from "../relay/queue/port.ts";

/**
 * Returns a function that removes marks from deliveries of the ingress queue that only queues of targets contain, such as that of a
 * replay job: somebody who may send like an agent has forged them. They would take the requests out of the target's ledger and
 * hold them back until a job ends. The log has a line with the number of such messages, at most once a minute.
 */
export function ignoreForged(marks: readonly ("job" | "redrive")[], log: Logger): (delivery: Delivery) => Delivery {
  const throttle = new Throttle();
  return (delivery) => {
    const kept = withoutMarks(delivery, marks);
    if (kept !== delivery) {
      throttle.run(performance.now(), (heldBack) =>
        log.warn(
          { event: "forged-mark", message: delivery.messageId, messages: heldBack + 1 },
          "a message of the ingress queue has a mark that agents do not write: it is ignored, and the requests count as those of agents",
        ),
      );
    }
    return kept;
  };
}
