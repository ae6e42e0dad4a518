import { type Logger, Throttle } from "../relay/log/log.ts";
import { type MessagePack, withoutMarks } from "../relay/queue/message.ts";
import type { Delivery } from "../relay/queue/port.ts";
import { knownIndexes, redrivenIndexes } from "../relay/state/fate-sheet.ts";
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

/** A pack of the ingress queue, and whether the ledger has counted it: then it is not sampled again. */
export interface CheckedPack {
  readonly pack: MessagePack;
  readonly counted: boolean;
}

// Nobody redrives requests so often. A larger count would leave no room for that of the next redrive.
const mostRedrives = 1_000_000;

/**
 * For the packs of a target that reads the ingress queue itself, which may have been redriven: returns a function that tells
 * whether the ledger knows of that. If it does not, an agent has forged the mark, or the ledger was lost, or it has not noted the
 * redrive yet. Such a pack is sampled and counted like that of an agent, and keeps its mark: the redrive notes the same count.
 * Rejects with `StateError`.
 */
export function checkRedrives(target: string, ledger: Pick<Ledger, "fannedOut" | "sheet">, log: Logger) {
  const report = createReport(log);
  return async (pack: MessagePack, messageId: string): Promise<CheckedPack> => {
    const { redrive, ...unmarked } = pack;
    if (!redrive) return { pack, counted: false };
    if (await isKnown(pack, target, ledger)) return { pack, counted: true };
    report(messageId);
    return { pack: redrive.count > mostRedrives ? unmarked : pack, counted: false };
  };
}

/**
 * Whether each request of the pack was fanned out, here or to the target that it was moved from, or was redriven to here: after
 * the ledger was lost, only the redrive is in it.
 */
async function isKnown(
  { id, requests, redrive }: MessagePack,
  target: string,
  ledger: Pick<Ledger, "fannedOut" | "sheet">,
): Promise<boolean> {
  const targets = [...(await ledger.fannedOut(id))];
  const fannedOut = await Promise.all(targets.map(async (name) => knownIndexes(await ledger.sheet(name, id))));
  const redriven = redrivenIndexes(await ledger.sheet(target, id), redrive?.count);
  return requests.every(({ index }) => redriven.has(index) || fannedOut.some((indexes) => indexes.has(index)));
}

function createReport(log: Logger): (messageId: string) => void {
  const throttle = new Throttle();
  return (messageId) =>
    throttle.run(performance.now(), (heldBack) =>
      log.warn(
        { event: "forged-mark", message: messageId, messages: heldBack + 1 },
        "a message of the ingress queue has a mark that agents do not write, and of which the ledger knows nothing: its requests are sampled and counted as those of agents",
      ),
    );
}
