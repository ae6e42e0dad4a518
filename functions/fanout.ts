import type { Hono } from "hono";
import type { TargetConfig } from "../relay/config.ts";
import { DecodeError } from "../relay/decode-error.ts";
import type { Logger } from "../relay/log.ts";
import { forwardMessage, poisonMessage, readMessage, shareMessage } from "../relay/message.ts";
import type { Pack, PackedRequest } from "../relay/pack.ts";
import type { Delivery, OutgoingMessage, QueueSender } from "../relay/queue/port.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import { isSampled } from "../relay/sample.ts";
import type { Fate, Ledger, Settlement } from "../relay/state/port.ts";
import { matches } from "../relay/when.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";

export interface FanOutDeps {
  readonly targets: readonly TargetConfig[];
  readonly queueOf: (target: TargetConfig) => QueueSender;
  /** Where packs end that cannot be decoded. */
  readonly deadLetters: QueueSender;
  readonly ledger: Ledger;
  readonly log: Logger;
}

/** Takes packs from the ingress queue and puts each target's share into the target's own queue. */
export function createFanOut(deps: FanOutDeps): Hono<{ Bindings: Invocation }> {
  return createBatchApp(deps.log, (delivery) => fanOut(deps, delivery));
}

async function fanOut(deps: FanOutDeps, delivery: Delivery): Promise<Handled> {
  const { targets, queueOf, deadLetters, ledger, log } = deps;
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) {
    log.error({ event: "poison", message: delivery.messageId, reason: pack.message }, "a pack cannot be decoded");
    await sendAll(deadLetters, [poisonMessage(delivery, pack.message)]);
    return "done";
  }
  const settlements = new Map<string, Settlement>();
  for (const target of targets) {
    const { requests, settlement } = shareOf(target, pack);
    settlements.set(target.name, settlement);
    if (requests.length > 0) await sendAll(queueOf(target), [toMessage(delivery, pack, requests)]);
  }
  // Behind the sending: a pack that is noted as fanned out must not be missing in a queue.
  const { id, agent, sequence } = pack;
  await ledger.recordFanOut({ pack: id, agent, sequence, requests: pack.requests.length, targets: settlements });
  return "done";
}

function shareOf(target: TargetConfig, pack: Pack): { requests: readonly PackedRequest[]; settlement: Settlement } {
  const settlement = new Map<number, Fate>();
  const requests = pack.requests.filter((request) => {
    const fate = fateAtFanOut(target, request);
    if (fate !== undefined) settlement.set(request.index, fate);
    return fate === undefined;
  });
  return { requests, settlement };
}

function fateAtFanOut(target: TargetConfig, request: PackedRequest): Fate | undefined {
  if (target.when && !matches(target.when, request)) return "filtered";
  return isSampled(target.sample, target.name, request) ? undefined : "sampledOut";
}

function toMessage(delivery: Delivery, pack: Pack, requests: readonly PackedRequest[]): OutgoingMessage {
  if (requests.length === pack.requests.length) return forwardMessage(delivery, pack);
  return shareMessage(pack, requests, { attempt: pack.attempt });
}
