import type { Hono } from "hono";
import type { Logger } from "../relay/log/log.ts";
import { DecodeError } from "../relay/pack/decode-error.ts";
import type { Pack } from "../relay/pack/pack.ts";
import { forwardMessage, poisonMessage, readMessage, shareMessage } from "../relay/queue/message.ts";
import type { Delivery, OutgoingMessage, QueueSender } from "../relay/queue/port.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import type { FigureBook } from "../relay/replay/figure-book.ts";
import type { LiveTarget } from "../relay/replay/live-target.ts";
import { type Share, shareOf } from "../relay/replay/share.ts";
import { captureKey, type Fate, type Ledger, type Settlement, StateError } from "../relay/state/port.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";
import type { CaptureSink, CaptureTurn, CaptureVerdict } from "./capture/sink.ts";
import { parseUncaptured, toUncaptured, type Uncaptured } from "./capture/uncaptured.ts";
import type { MetricLine } from "./metric-line.ts";
import { StatePatience } from "./state-patience.ts";

export interface FanOutDeps {
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueSender;
  readonly captures: readonly CaptureSink[];
  /** Where packs go back to that cannot be fanned out, or captured, now. */
  readonly ingress: QueueSender;
  /** Where packs end that cannot be decoded. */
  readonly deadLetters: QueueSender;
  readonly ledger: Ledger;
  /** By the name of the target: counts what its queue does not get. */
  readonly figures?: ReadonlyMap<string, FigureBook>;
  readonly metrics?: Pick<MetricLine, "count">;
  readonly log: Logger;
}

const none: ReadonlySet<string> = new Set();
// How long a pack waits for a state store that does not answer.
const afterFailureMs = 30_000;

/**
 * Takes packs from the ingress queue, puts each target's share into the target's own queue and each capture's into its
 * archive. A capture that cannot keep its share gets it again later, and by itself.
 */
export function createFanOut(deps: FanOutDeps): Hono<{ Bindings: Invocation }> {
  const patience = new StatePatience("fan-out", deps.log);
  return createBatchApp(deps.log, async (delivery, invocation) => {
    // Before anything is awaited: all of a batch is announced before the first of it is brought.
    const turns = new Map(deps.captures.map((sink) => [sink.name, sink.announce()]));
    try {
      return await fanOut(deps, patience, turns, delivery, invocation);
    } finally {
      for (const turn of turns.values()) turn.leave();
    }
  });
}

type Turns = ReadonlyMap<string, CaptureTurn>;

async function fanOut(
  deps: FanOutDeps,
  patience: StatePatience,
  turns: Turns,
  delivery: Delivery,
  invocation: Required<Invocation>,
): Promise<Handled> {
  const { targets, queueOf, ingress, deadLetters, ledger, figures, metrics, log } = deps;
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) {
    log.error({ event: "poison", message: delivery.messageId, reason: pack.message }, "a pack cannot be decoded");
    await sendAll(deadLetters, [poisonMessage(delivery, pack.message)]);
    return "done";
  }
  const uncaptured = parseUncaptured(delivery.body);
  if (uncaptured) return captureAgain(deps, patience, turns, delivery, pack, uncaptured, invocation);
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
  // Also of one that comes again: what an archive has twice is read once.
  const verdicts = await capture(turns, pack);
  // Behind the sending: a pack that is noted as fanned out must not be missing in a queue.
  const delivered = shares.filter((_, i) => sent[i].status === "fulfilled");
  const settlements = new Map<string, Settlement>([
    ...delivered.map(({ name, share }) => [name, share.settlement] as const),
    ...Array.from(verdicts, ([name, { settlement }]) => [captureKey(name), settlement] as const),
  ]);
  if (settlements.size > 0) {
    await patience.run(invocation, () =>
      ledger.recordFanOut({ pack: id, agent, sequence, requests: pack.requests.length, targets: settlements }),
    );
    metrics?.count("packs", 1);
    countCaptured(deps, verdicts);
    for (const { name, share } of delivered) {
      for (const fate of share.settlement.values()) figures?.get(name)?.count(fate);
    }
  }
  await sendUncaptured(deps, delivery, pack, verdicts, 1);
  const failed = sent.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
  return "done";
}

/** For a pack that the targets have got. */
async function captureAgain(
  deps: FanOutDeps,
  patience: StatePatience,
  turns: Turns,
  delivery: Delivery,
  pack: Pack,
  { captures, tries }: Uncaptured,
  invocation: Required<Invocation>,
): Promise<Handled> {
  const wanted = new Map([...turns].filter(([name]) => captures.includes(name)));
  for (const [name, turn] of turns) if (!wanted.has(name)) turn.leave();
  const verdicts = new Map(await capture(wanted, pack));
  for (const name of captures) if (!wanted.has(name)) verdicts.set(name, skipAll(pack));
  await patience.run(invocation, async () => {
    for (const [name, { kept, settlement }] of verdicts) {
      if (kept) await deps.ledger.settle(captureKey(name), pack.id, settlement);
    }
  });
  countCaptured(deps, verdicts);
  await sendUncaptured(deps, delivery, pack, verdicts, tries + 1);
  return "done";
}

async function capture(turns: Turns, pack: Pack): Promise<ReadonlyMap<string, CaptureVerdict>> {
  return new Map(await Promise.all(Array.from(turns, async ([name, turn]) => [name, await turn.bring(pack)] as const)));
}

function countCaptured({ metrics }: FanOutDeps, verdicts: ReadonlyMap<string, CaptureVerdict>): void {
  for (const { settlement } of verdicts.values()) {
    metrics?.count("captured", [...settlement.values()].filter((fate) => fate === "captured").length);
  }
}

/** What becomes of requests that waited for a capture that is not configured any more. */
function skipAll({ requests }: Pack): CaptureVerdict {
  return { kept: true, settlement: new Map<number, Fate>(requests.map(({ index }) => [index, "skipped"])) };
}

async function sendUncaptured(
  { ingress }: FanOutDeps,
  delivery: Delivery,
  pack: Pack,
  verdicts: ReadonlyMap<string, CaptureVerdict>,
  tries: number,
): Promise<void> {
  const left = [...verdicts].filter(([, { kept }]) => !kept);
  if (left.length === 0) return;
  const requests = pack.requests.filter(({ index }) => left.some(([, { settlement }]) => !settlement.has(index)));
  const uncaptured = { captures: left.map(([name]) => name), tries };
  for (const message of toUncaptured(delivery, pack, requests, uncaptured, ingress.maxMessageBytes)) {
    await sendAll(ingress, [message]);
  }
}

function toMessages(delivery: Delivery, pack: Pack, { requests }: Share): readonly OutgoingMessage[] {
  if (requests.length === 0) return [];
  if (requests.length === pack.requests.length) return [forwardMessage(delivery, pack)];
  return [shareMessage(pack, requests, { attempt: pack.attempt })];
}
