import { setTimeout as sleep } from "node:timers/promises";
import type { Hono } from "hono";
import { jobKey } from "../relay/job/job.ts";
import { JobGate } from "../relay/job/job-gate.ts";
import { DecodeError } from "../relay/pack/decode-error.ts";
import type { PackedRequest } from "../relay/pack/pack.ts";
import { fitShares } from "../relay/queue/fitting.ts";
import { anew, type MessagePack, readMessage, returnUnread, type ShareOptions } from "../relay/queue/message.ts";
import { forever, isRemoved } from "../relay/queue/overdue.ts";
import { poisonMessage } from "../relay/queue/poison.ts";
import { type Delivery, type OutgoingMessage, QueueError } from "../relay/queue/port.ts";
import { toAges } from "../relay/queue/request-age.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import { replayPack } from "../relay/replay/replay.ts";
import type { ReplayResult } from "../relay/replay/replay-result.ts";
import { shareOf } from "../relay/replay/share.ts";
import { settledIndexes } from "../relay/state/fate-sheet.ts";
import { type Fate, type Settlement, StateError } from "../relay/state/port.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";
import { withRoom } from "./decode-room.ts";
import { ignoreForged } from "./forged-marks.ts";
import type { ReplayDeps } from "./replay-deps.ts";
import { createShared, type ReplayShared } from "./replay-shared.ts";

// A pack that was received 45 times and never finished probably kills its worker. This code moves it to the dead letters before
// the queue reaches its own receive limit, because SQS would move it without a reason.
const maxReceives = 45;
// Delay of the rest of a pack after the end of the invocation, and after a failure of the state store.
const afterEndMs = 1_000;
const afterFailureMs = 30_000;
// Interval at which a patient invocation retries.
const patientRetryMs = 1_000;

/** Receives the packs of one target and sends their requests, each at its slot. */
export function createReplay(deps: ReplayDeps): Hono<{ Bindings: Invocation }> {
  const shared = createShared(deps);
  const accept = deps.direct ? ignoreForged(["job"], deps.log) : (delivery: Delivery) => delivery;
  return createBatchApp(
    deps.log,
    async (received, invocation) => {
      const delivery = accept(received);
      const run = new PackRun(deps, shared, invocation);
      const handled = await withRoom(deps.room, delivery, invocation.signal, () => run.run(delivery));
      return handled ?? (await run.returnUnread(delivery));
    },
    async (invocation) => {
      // The long-running host flushes on a timer; a Lambda function must flush before it is frozen.
      if (!invocation.patient) await deps.lane.figures.flush();
    },
  );
}

/** The work on one delivery. */
class PackRun {
  readonly #deps: ReplayDeps;
  readonly #shared: ReplayShared;
  readonly #invocation: Required<Invocation>;

  constructor(deps: ReplayDeps, shared: ReplayShared, invocation: Required<Invocation>) {
    this.#deps = deps;
    this.#shared = shared;
    this.#invocation = invocation;
  }

  async run(delivery: Delivery): Promise<Handled> {
    const { deadLetters, log } = this.#deps;
    const pack = readMessage(delivery);
    if (pack instanceof DecodeError) {
      const about = { target: this.#target, message: delivery.messageId, reason: pack.message };
      log.error({ event: "poison", ...about }, "a pack cannot be decoded: it is moved to the target's dead letters");
      await sendAll(deadLetters, [poisonMessage(delivery, pack.message, deadLetters)]);
      return "done";
    }
    // Queues may deliver a pack twice: the second copy reads the ledger only after the first has written its fates.
    const { promise, resolve, reject } = Promise.withResolvers<Handled>();
    await this.#shared.turns.run(pack.id, () => this.#replay(delivery, pack).then(resolve, reject));
    return promise.catch((error: Error) => {
      this.#shared.progress.putBack(false);
      throw error;
    });
  }

  /** Sends a pack back that the invocation had no time and no room for. As `#handBack`: it waited and did not fail. */
  async returnUnread(delivery: Delivery): Promise<Handled> {
    const { queue, retention = forever } = this.#deps;
    this.#shared.progress.putBack(true);
    if (this.#invocation.patient || isRemoved(delivery, retention)) return "again";
    await sendAll(queue, [{ ...returnUnread(delivery), delayMs: afterEndMs }]);
    return "done";
  }

  async #replay(delivery: Delivery, received: MessagePack): Promise<Handled> {
    let pack = received;
    let requests: readonly PackedRequest[];
    try {
      requests = await this.#shared.patience.run(this.#invocation, async () => {
        // A pack in the queue of its own was counted by the fan-out, or by the feeder of its job.
        if (!this.#deps.direct) return this.#open(pack);
        const checked = await this.#shared.checkRedrive(received, delivery.messageId);
        pack = checked.pack;
        return checked.counted ? this.#open(pack) : this.#count(pack);
      });
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      this.#shared.progress.putBack(false);
      return this.#handBack(delivery, pack, pack.requests, afterFailureMs);
    }
    if (delivery.receiveCount > maxReceives) {
      await this.#sendToDeadLetters(
        pack,
        new Map([[`received ${delivery.receiveCount} times and never finished`, requests]]),
      );
      return "done";
    }
    const { rest, delayMs } = await this.#send(delivery, pack, requests);
    return rest.length === 0 ? "done" : this.#handBack(delivery, pack, rest, delayMs);
  }

  get #target(): string {
    return this.#deps.lane.live.config.name;
  }

  /** The ledger's key for the pack: its job, or the target. */
  #keyOf({ job }: MessagePack): string {
    return job ? jobKey(job.id) : this.#target;
  }

  /** The requests without a fate. After a crash a pack is delivered again; requests that have a fate are not sent twice. */
  async #open(pack: MessagePack): Promise<readonly PackedRequest[]> {
    const redrives = pack.redrive?.count ?? 0;
    if (redrives > 0) {
      // The redrive may have died, or may be about to do the same: the fates are withdrawn before a worker adds new ones.
      const indexes = pack.requests.map(({ index }) => index);
      await this.#deps.ledger.reopen(this.#keyOf(pack), pack.id, indexes, redrives);
    }
    const settled = await this.#settled(pack);
    return pack.requests.filter(({ index }) => !settled.has(index));
  }

  /** The same for a pack that comes straight from an agent: takes the target's sample and records it. */
  async #count(pack: MessagePack): Promise<readonly PackedRequest[]> {
    const { lane, ledger, metrics } = this.#deps;
    await lane.live.refresh();
    const { requests, settlement } = shareOf(lane.live.config, lane.live.sampleFraction, pack);
    const { id, agent, sequence, requests: all } = pack;
    const fannedOut = {
      pack: id,
      agent,
      sequence,
      requests: all.length,
      targets: new Map([[this.#target, settlement]]),
    };
    await ledger.recordFanOut(fannedOut);
    metrics?.count("packs", 1);
    const settled = await this.#settled(pack);
    // For a pack that is delivered again, the ledger keeps the first sample. If the sample is smaller now, the requests that
    // it leaves out still need a fate.
    const leftOut = new Map([...settlement].filter(([index]) => !settled.has(index)));
    if (leftOut.size > 0) await ledger.settle(this.#target, id, leftOut, pack.redrive?.count);
    for (const fate of settlement.values()) lane.figures.count(fate);
    return requests.filter(({ index }) => !settled.has(index));
  }

  /** The requests that need not be sent: they have a fate, or were redriven after this copy of them was sent. */
  async #settled(pack: MessagePack): Promise<ReadonlySet<number>> {
    return settledIndexes(await this.#deps.ledger.sheet(this.#keyOf(pack), pack.id), pack.redrive?.count);
  }

  /** Sends the requests that can be sent now; resolves with the rest, and the delay before its retry. */
  async #send(
    delivery: Delivery,
    pack: MessagePack,
    requests: readonly PackedRequest[],
  ): Promise<{ readonly rest: readonly PackedRequest[]; readonly delayMs: number }> {
    const { lane, retention = forever } = this.#deps;
    const { signal, patient } = this.#invocation;
    const timing = { signal, patient, ...toAges(delivery, pack, retention) };
    const gate = pack.job && new JobGate(pack.job, this.#shared.watch);
    this.#shared.warnings.noteClock(pack, retention.nowMs());
    for (let rest = requests; ; ) {
      const fates = this.#shared.notes.open((settlement) => this.#settle(pack, settlement), patient);
      const onSettled = (index: number, fate: Fate) => {
        fates.add(index, fate);
        lane.figures.count(fate);
      };
      let result: ReplayResult;
      try {
        result = await replayPack(lane, pack, rest, { ...timing, onSettled, ...(gate && { gate }) });
      } finally {
        await this.#shared.patience.run(this.#invocation, () => fates.flush());
      }
      await this.#sendToDeadLetters(pack, result.dead);
      await this.#tryAgain(pack, result);
      rest = result.unsent;
      if (result.failure) this.#shared.patience.report(result.failure);
      this.#shared.warnings.note(result);
      if (result.again.length > 0 || (rest.length > 0 && result.laterMs === undefined)) {
        this.#shared.progress.putBack(signal.aborted && !result.failure && result.again.length === 0);
      }
      if (rest.length === 0 || signal.aborted) return { rest, delayMs: afterEndMs };
      if (result.laterMs !== undefined) return { rest, delayMs: result.laterMs };
      if (!patient) return { rest, delayMs: result.failure ? afterFailureMs : lane.live.holdMs };
      await sleep(patientRetryMs, undefined, { signal }).catch(() => {});
    }
  }

  async #tryAgain(pack: MessagePack, { again, behind, delayMs, reason }: ReplayResult): Promise<void> {
    if (again.length === 0) return;
    const attempt = pack.attempt + 1;
    const messages = [
      ...this.#toMessages(pack, again, { attempt, delayMs }),
      ...this.#toMessages(pack, behind, { attempt: pack.attempt, delayMs }),
    ];
    await sendAll(this.#deps.queue, messages);
    const about = { target: this.#target, requests: again.length, attempt, delayMs, reason };
    this.#deps.log.warn({ event: "undelivered", ...about }, "requests were not delivered: retrying after delayMs");
  }

  /**
   * Sends the rest of a pack back as a new message, before the old one is deleted: the limit of receives is for packs that
   * fail, not for packs that wait. A whole pack that may be delivered again at once stays in its old message.
   */
  async #handBack(
    delivery: Delivery,
    pack: MessagePack,
    rest: readonly PackedRequest[],
    delayMs: number,
  ): Promise<Handled> {
    const { signal, patient } = this.#invocation;
    // The queue itself has removed and counted the message, or will do so.
    if (isRemoved(delivery, this.#deps.retention ?? forever)) return "again";
    if (patient && signal.aborted && rest.length === pack.requests.length) return "again";
    const wait = patient && signal.aborted ? 0 : delayMs;
    await sendAll(this.#deps.queue, this.#toMessages(pack, rest, { attempt: pack.attempt, delayMs: wait }));
    return "done";
  }

  /** Throws `QueueError` if a request does not fit into a message: then the pack is delivered again, and at last given up. */
  #toMessages(
    pack: MessagePack,
    requests: readonly PackedRequest[],
    options: ShareOptions,
  ): readonly OutgoingMessage[] {
    const { shares, unfit } = fitShares(pack, requests, options, this.#deps.queue);
    if (unfit.length > 0) throw new QueueError("TOO_BIG", "a request does not fit into a message that puts it back");
    return shares.map(({ message }) => message);
  }

  /**
   * The letter is stored first, then the fate, and the message is deleted last: whenever the process dies, each request is in
   * a queue, and the dead-letter queue has at least the letters that the ledger counts.
   */
  async #sendToDeadLetters(pack: MessagePack, dead: ReadonlyMap<string, readonly PackedRequest[]>): Promise<void> {
    const { deadLetters, retention = forever, log } = this.#deps;
    for (const [reason, requests] of dead) {
      const options = { attempt: pack.attempt + 1, reason };
      const { shares, unfit } = fitShares(anew(pack, retention.nowMs()), requests, options, deadLetters);
      for (const { message, requests: part } of shares) {
        await sendAll(deadLetters, [message]);
        await this.#end(pack, part, "deadLettered");
        const about = { target: this.#target, requests: part.length, reason };
        log.error({ event: "dead-letter", ...about }, "requests were moved to the target's dead letters");
      }
      if (unfit.length === 0) continue;
      // Delivered again, a request that the shadow may have acted on would be sent again.
      await this.#end(pack, unfit, "discarded");
      const about = { target: this.#target, requests: unfit.length, reason };
      log.error({ event: "too-big", ...about }, "requests are too large for a dead letter: they are discarded");
    }
  }

  async #end(pack: MessagePack, requests: readonly PackedRequest[], fate: Fate): Promise<void> {
    this.#deps.lane.figures.count(fate, requests.length);
    const fates = new Map(requests.map(({ index }) => [index, fate]));
    await this.#shared.patience.run(this.#invocation, () => this.#settle(pack, fates));
  }

  async #settle(pack: MessagePack, settlement: Settlement): Promise<void> {
    await this.#deps.ledger.settle(this.#keyOf(pack), pack.id, settlement, pack.redrive?.count);
    this.#shared.progress.settled();
  }
}
