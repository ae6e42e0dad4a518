import type { Hono } from "hono";
import { DecodeError } from "../relay/decode-error.ts";
import type { Logger } from "../relay/log.ts";
import { poisonMessage, readMessage, shareMessage } from "../relay/message.ts";
import type { Pack, PackedRequest } from "../relay/pack.ts";
import type { Delivery, QueueSender } from "../relay/queue/port.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import { type Lane, type ReplayResult, replayPack } from "../relay/replay.ts";
import type { Fate, Ledger } from "../relay/state/port.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";

export interface ReplayDeps {
  readonly lane: Lane;
  /** The target's own queue, for requests that are tried again later. */
  readonly queue: QueueSender;
  readonly deadLetters: QueueSender;
  readonly ledger: Ledger;
  readonly log: Logger;
}

// A pack that was handed out so often without an end kills its worker: it must not do so for ever.
const maxReceives = 50;
// How often the fates of a pack that is being paced are noted: what is sent again after a crash.
const noteEveryMs = 500;
// How long the rest of a pack waits for a state store that does not answer.
const afterFailureMs = 5_000;

/** Takes the packs of one target and sends their requests, each at its slot. */
export function createReplay(deps: ReplayDeps): Hono<{ Bindings: Invocation }> {
  return createBatchApp(deps.log, (delivery, signal) => replay(deps, delivery, signal));
}

async function replay(deps: ReplayDeps, delivery: Delivery, signal: AbortSignal): Promise<Handled> {
  const { lane, deadLetters, ledger, log } = deps;
  const target = lane.target.name;
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) {
    log.error(
      { event: "poison", target, message: delivery.messageId, reason: pack.message },
      "a pack cannot be decoded",
    );
    await sendAll(deadLetters, [poisonMessage(delivery, pack.message)]);
    return "done";
  }
  // After a crash the pack comes again: what has its fate by then is not sent a second time.
  const settled = await ledger.settled(target, pack.id);
  const requests = pack.requests.filter((request) => !settled.has(request.index));
  if (delivery.receiveCount > maxReceives) {
    const reason = `received ${delivery.receiveCount} times without an end`;
    await bury(deps, pack, new Map([[reason, requests]]));
    return "done";
  }
  const fates = new FateNotes(ledger, target, pack.id);
  let result: ReplayResult;
  try {
    result = await replayPack(lane, pack, requests, (index, fate) => fates.add(index, fate), signal);
  } finally {
    await fates.flush();
  }
  await bury(deps, pack, result.dead);
  if (result.again.length > 0) {
    await sendAll(deps.queue, [
      shareMessage(pack, result.again, { attempt: pack.attempt + 1, delayMs: result.delayMs }),
    ]);
    log.warn(
      {
        event: "undelivered",
        target,
        requests: result.again.length,
        attempt: pack.attempt + 1,
        delayMs: result.delayMs,
        reason: result.reason,
      },
      "requests were not delivered and are tried again",
    );
  }
  if (result.failure) {
    log.error({ event: "no-slots", target, reason: result.failure.message }, "no send slots can be leased");
  }
  if (result.unsent.length > 0) {
    if (result.unsent.length === requests.length) return "again";
    const delayMs = result.failure ? afterFailureMs : 0;
    await sendAll(deps.queue, [shareMessage(pack, result.unsent, { attempt: pack.attempt, delayMs })]);
  }
  return "done";
}

async function bury(deps: ReplayDeps, pack: Pack, dead: ReadonlyMap<string, readonly PackedRequest[]>): Promise<void> {
  const target = deps.lane.target.name;
  for (const [reason, requests] of dead) {
    if (requests.length === 0) continue;
    await sendAll(deps.deadLetters, [shareMessage(pack, requests, { attempt: pack.attempt + 1, reason })]);
    await deps.ledger.settle(target, pack.id, new Map(requests.map(({ index }) => [index, "deadLettered"])));
    deps.log.error({ event: "dead-letter", target, requests: requests.length, reason }, "requests became dead letters");
  }
}

/** Collects the fates of a pack and notes them in the ledger twice a second. */
class FateNotes {
  readonly #ledger: Ledger;
  readonly #target: string;
  readonly #pack: string;
  #fates = new Map<number, Fate>();
  #timer: NodeJS.Timeout | undefined;
  #noting: Promise<void> = Promise.resolve();

  constructor(ledger: Ledger, target: string, pack: string) {
    this.#ledger = ledger;
    this.#target = target;
    this.#pack = pack;
  }

  add(index: number, fate: Fate): void {
    this.#fates.set(index, fate);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      // Where it fails, the next time has it all again, and `flush` is the last.
      this.#noting = this.#noting.then(() => this.#note()).catch(() => {});
    }, noteEveryMs);
  }

  /** Notes what is left. Rejects where a fate could not be noted, so that the pack comes again. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#noting;
    await this.#note();
  }

  async #note(): Promise<void> {
    const fates = this.#fates;
    if (fates.size === 0) return;
    this.#fates = new Map();
    try {
      await this.#ledger.settle(this.#target, this.#pack, fates);
    } catch (error) {
      this.#fates = new Map([...fates, ...this.#fates]);
      throw error;
    }
  }
}
