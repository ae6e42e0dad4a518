import { type Logger, Throttle } from "../relay/log/log.ts";
import { type MessagePack, withoutMarks } from "../relay/queue/message.ts";
import type { Delivery } from "../relay/queue/port.ts";
import { knownIndexes } from "../relay/state/fate-sheet.ts";
import type { Ledger } from "../relay/state/port.ts";

/**
 * Returns a function that removes marks from deliveries of the ingress queue that only queues of targets contain, such as that of a
 * replay job: somebody who may send like an agent has forged them. They would take the requests out of the target's ledger and
 * hold them back until a job ends. The log has a line with the number of such messages, at most once a minute.
 */
export function ignoreForged(marks: readonly ("job" | "redrive")[], log: Logger): (delivery: Delivery) => Delivery {
  const report = createReport(log);
  return (delivery) => {
    const kept = withoutMarks(delivery, marks);
    if (kept !== delivery) report(delivery.messageId);
    return kept;
  };
}

/**
 * For the packs of a target that reads the ingress queue itself, which may have been redriven: returns a function that removes the
 * mark of a redrive from packs with a request that the ledger has at no target. It would keep them out of the sample, and their
 * agent out of the ledger. Rejects with `StateError`.
 */
export function ignoreForgedRedrives(ledger: Pick<Ledger, "fannedOut" | "sheet">, log: Logger) {
  const report = createReport(log);
  return async (pack: MessagePack, messageId: string): Promise<MessagePack> => {
    const { redrive, ...unmarked } = pack;
    if (!redrive || (await isKnown(pack, ledger))) return pack;
    report(messageId);
    return unmarked;
  };
}

/** Whether each request of the pack was fanned out, here or to the target that it was moved from. */
async function isKnown({ id, requests }: MessagePack, ledger: Pick<Ledger, "fannedOut" | "sheet">): Promise<boolean> {
  const targets = [...(await ledger.fannedOut(id))];
  const known = await Promise.all(targets.map(async (target) => knownIndexes(await ledger.sheet(target, id))));
  return requests.every(({ index }) => known.some((indexes) => indexes.has(index)));
}

function createReport(log: Logger): (messageId: string) => void {
  const throttle = new Throttle();
  return (messageId) =>
    throttle.run(performance.now(), (heldBack) =>
      log.warn(
        { event: "forged-mark", message: messageId, messages: heldBack + 1 },
        "a message of the ingress queue has a mark that agents do not write: it is ignored, and the requests count as those of agents",
      ),
    );
}
