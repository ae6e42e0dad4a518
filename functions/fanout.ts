import type { Hono } from "hono";
import { DecodeError } from "../relay/decode-error.ts";
import type { FigureBook } from "../relay/figure-book.ts";
import type { LiveTarget } from "../relay/live-target.ts";
import type { Logger } from "../relay/log.ts";
import { forwardMessage, poisonMessage, readMessage, shareMessage } from "../relay/message.ts";
import type { Pack } from "../relay/pack.ts";
import type { Delivery, OutgoingMessage, QueueSender } from "../relay/queue/port.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import { type Share, shareOf } from "../relay/share.ts";
import { type Ledger, StateError } from "../relay/state/port.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";
import { StatePatience } from "./state-patience.ts";

export interface FanOutDeps {
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueSender;
  /** Where packs go back to that cannot be fanned out now. */
  readonly ingress: QueueSender;
  /** Where packs end that cannot be decoded. */
  readonly deadLetters: QueueSender;
  readonly ledger: Ledger;
  /** By the name of the target: counts what its queue does not get. */
  readonly figures?: ReadonlyMap<string, FigureBook>;
  readonly log: Logger;
}

const none: ReadonlySet<string> = new Set();
// How long a pack waits for a state store that does not answer.
const afterFailureMs = 30_000;

/** Takes packs from the ingress queue and puts each target's share into the target's own queue. */
export function createFanOut(deps: FanOutDeps): Hono<{ Bindings: Invocation }> {
  const patience = new StatePatience("fan-out", deps.log);
  return createBatchApp(deps.log, (delivery, invocation) => fanOut(deps, patience, delivery, invocation));
}

async function fanOut(
  deps: FanOutDeps,
  patience: StatePatience,
  delivery: Delivery,
  invocation: Required<Invocation>,
): Promise<Handled> {
  const { targets, queueOf, ingress, deadLetters, ledger, figures, log } = deps;
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) {
    log.error({ event: "poison", message: delivery.messageId, reason: pack.message }, "a pack cannot be decoded");
    await sendAll(deadLetters, [poisonMessage(delivery, pack.message)]);
    return "done";
  }
  try {
    await patience.run(invocation, () => Promise.all(targets.map((target) => target.refresh())));
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    // A new message: the number of times that this one may be received is for what goes wrong with the pack itself.
    if (!invocation.patient) await sendAll(ingress, [{ ...forwardMessage(delivery, pack), delayMs: afterFailureMs }]);
    return invocation.patient ? "again" : "done";
  }
  const { id, agent, sequence } = pack;
  // One that comes again has reached some of the queues, perhaps: a copy there each time would be sent as often.
  const reached = delivery.receiveCount > 1 ? await patience.run(invocation, () => ledger.fannedOut(id)) : none;
  const shares = targets
    .filter(({ config }) => !reached.has(config.name))
    .map(({ config, sampleFraction }) => ({ name: config.name, share: shareOf(config, sampleFraction, pack) }));
  const sent = await Promise.allSettled(
    shares.map(({ name, share }) => sendAll(queueOf(name), toMessages(delivery, pack, share))),
  );
  // Behind the sending: a pack that is noted as fanned out must not be missing in a queue.
  const settlements = new Map(
    shares
      .filter((_, i) => sent[i].status === "fulfilled")
      .map(({ name, share: { settlement } }) => [name, settlement]),
  );
  if (settlements.size > 0) {
    await patience.run(invocation, () =>
      ledger.recordFanOut({ pack: id, agent, sequence, requests: pack.requests.length, targets: settlements }),
    );
    for (const [name, settlement] of settlements) {
      for (const fate of settlement.values()) figures?.get(name)?.count(fate);
    }
  }
  const failed = sent.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  return "done";
}

function toMessages(delivery: Delivery, pack: Pack, { requests }: Share): readonly OutgoingMessage[] {
  if (requests.length === 0) return [];
  if (requests.length === pack.requests.length) return [forwardMessage(delivery, pack)];
  return [shareMessage(pack, requests, { attempt: pack.attempt })];
}
