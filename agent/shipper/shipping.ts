import { setTimeout as sleep } from "node:timers/promises";
import { sealPack } from "../../relay/pack/envelope.ts";
import { type MachineClock, machineClock } from "../../relay/process/machine-clock.ts";
import { leaveRoom } from "../../relay/queue/fitting.ts";
import { type OutgoingMessage, QueueError, type QueueSender } from "../../relay/queue/port.ts";
import type { DropReason } from "../ledger.ts";
import { toSentMessage, toWaitingBody } from "./held-time.ts";
import type { Ticket } from "./journal.ts";
import { JournalKeeper } from "./journal-keeper.ts";
import type { FromWorker, JournalPlace, ToWorker } from "./messages.ts";

export interface ShippingOptions {
  readonly agent: string;
  readonly queue: QueueSender;
  readonly journal?: JournalPlace;
  readonly post: (message: FromWorker, transfer?: ArrayBuffer[]) => void;
  /** Default: that of this machine. */
  readonly machine?: MachineClock;
}

/** A compressed pack on its way to the queue. */
interface Parcel {
  readonly message: OutgoingMessage;
  /** Its place in the journal. */
  readonly ticket?: Ticket;
  /** Bytes that the main thread counts as its memory. */
  readonly heldBytes: number;
  /** True if an earlier run of the agent wrote it. */
  readonly recovered: boolean;
}

const maxBatch = 10;
const maxSenders = 4;
const firstRetryMs = 100;
const maxRetryMs = 5_000;
const unwritten = { lost: false, ticket: undefined };
// With a journal, at most this much waits in memory; further packs are only on disk.
const maxLiveBytes = 8 * 1024 * 1024;

/**
 * Compresses packs, writes them to the journal, and sends them until the queue has accepted them. Batches from disk and
 * from memory alternate, so that a backlog does not delay new packs, nor new packs the backlog.
 */
export class Shipping {
  readonly #options: ShippingOptions;
  readonly #deadline = new AbortController();
  readonly #senders = new Set<Promise<void>>();
  // A sender that ends is subtracted at once; it leaves `#senders` only after its promise has settled.
  #activeSenders = 0;
  readonly #journal: JournalKeeper | undefined;
  readonly #machine: MachineClock;
  #live: Parcel[] = [];
  #liveBytes = 0;
  #backlogFirst = false;
  #queueFails = false;
  #finishing = false;

  constructor(options: ShippingOptions) {
    this.#options = { ...options, queue: leaveRoom(options.queue) };
    const { agent: run, journal: place, post, machine = machineClock } = options;
    this.#machine = machine;
    this.#journal = place && new JournalKeeper({ run, place, post });
    this.#send();
  }

  add({ buffer, bytes, summary, span }: Extract<ToWorker, { kind: "pack" }>): void {
    const sealed = sealPack(new Uint8Array(buffer, 0, bytes));
    const message = { body: toWaitingBody(summary, span, this.#machine), pack: sealed, requests: summary.count };
    const { lost, ticket } = this.#journal?.write(message) ?? unwritten;
    const full = this.#liveBytes + sealed.length > maxLiveBytes;
    const held = !lost && !(ticket && full && this.#journal?.release(ticket));
    const heldBytes = held ? sealed.length : 0;
    this.#options.post(
      {
        kind: "sealed",
        contentBytes: bytes,
        sealedBytes: sealed.length,
        heldBytes,
        requests: summary.count,
        journaled: ticket !== undefined || lost,
        buffer,
      },
      [buffer],
    );
    if (held) this.#hold({ message, ...(ticket && { ticket }), heldBytes, recovered: false });
    this.#journal?.report();
    this.#send();
  }

  /** Resolves when everything is sent, or after `withinMs`: packs that are not in the journal then are given up. */
  async finish(withinMs: number): Promise<void> {
    this.#finishing = true;
    this.#endIfSafe();
    const timer = setTimeout(() => this.#deadline.abort(), withinMs);
    while (this.#senders.size > 0) await Promise.all(this.#senders);
    clearTimeout(timer);
    for (const parcel of this.#live) if (this.#isVolatile(parcel)) this.#drop(parcel, "given up at exit");
    this.#live = [];
    this.#journal?.close();
  }

  /** Ends early if the queue fails and all waiting packs are in the journal: the next process sends them. */
  #endIfSafe(): void {
    if (this.#finishing && this.#queueFails && !this.#live.some((parcel) => this.#isVolatile(parcel)))
      this.#deadline.abort();
  }

  /** Starts senders while there is work, up to four; only one while the queue fails. */
  #send(): void {
    const limit = this.#queueFails ? 1 : maxSenders;
    while (this.#activeSenders < limit && this.#hasWork() && !this.#deadline.signal.aborted) {
      const sender = this.#sendAll().finally(() => this.#senders.delete(sender));
      this.#senders.add(sender);
    }
  }

  /** True if the pack is in memory only: it would be lost if the process ended now. */
  #isVolatile({ ticket }: Parcel): boolean {
    return !ticket || this.#journal?.keeps(ticket) !== true;
  }

  #hasWork(): boolean {
    return this.#live.length > 0 || (this.#journal?.waiting ?? 0) > 0;
  }

  async #sendAll(): Promise<void> {
    this.#activeSenders++;
    try {
      for (let retryMs = firstRetryMs; !this.#deadline.signal.aborted; ) {
        const batch = this.#nextBatch();
        if (batch.length === 0) return;
        const { taken, problem } = await this.#sendBatch(batch);
        // Even if only some packs were accepted: a pack that the queue never accepts must not slow down all others.
        if (taken > 0) retryMs = firstRetryMs;
        this.#noteProblem(problem);
        if (problem === undefined) continue;
        // One sender continues to retry; the others start again when the queue recovers.
        if (this.#activeSenders > 1) return;
        await sleep(retryMs, undefined, { signal: this.#deadline.signal }).catch(() => {});
        retryMs = Math.min(retryMs * 2, maxRetryMs);
      }
    } finally {
      // Subtracted before another sender compares the count: with a stale count the last sender would end, and none retry.
      this.#activeSenders--;
    }
  }

  #noteProblem(problem: QueueError | undefined): void {
    const { post } = this.#options;
    const failedBefore = this.#queueFails;
    this.#queueFails = problem !== undefined;
    if (problem) {
      post({ kind: "queueFailed", code: problem.code, message: problem.message });
      this.#endIfSafe();
    } else if (failedBefore) {
      post({ kind: "queueUp" });
      this.#send();
    }
  }

  #nextBatch(): Parcel[] {
    this.#backlogFirst = !this.#backlogFirst;
    const first = this.#backlogFirst ? this.#takeBacklog() : this.#takeLive();
    if (first.length > 0) return first;
    return this.#backlogFirst ? this.#takeLive() : this.#takeBacklog();
  }

  #takeLive(): Parcel[] {
    let bytes = 0;
    let count = 0;
    for (const { message } of this.#live) {
      bytes += message.pack.length + message.body.length;
      if (count === maxBatch || (count > 0 && bytes > this.#options.queue.maxMessageBytes)) break;
      count++;
    }
    const batch = this.#live.splice(0, count);
    for (const { heldBytes } of batch) this.#liveBytes -= heldBytes;
    return batch;
  }

  #takeBacklog(): Parcel[] {
    const batch: Parcel[] = [];
    let bytes = 0;
    while (batch.length < maxBatch && bytes < this.#options.queue.maxMessageBytes / 2) {
      const taken = this.#journal?.take();
      if (!taken) break;
      const recovered = this.#journal?.isRecovered(taken.ticket) === true;
      batch.push({ ...taken, heldBytes: 0, recovered });
      bytes += taken.message.pack.length;
    }
    return batch;
  }

  /** Sends a batch. Packs to retry return to memory or to the journal, and `problem` says why they failed. */
  async #sendBatch(batch: readonly Parcel[]): Promise<{ readonly taken: number; readonly problem?: QueueError }> {
    let results: readonly (QueueError | undefined)[];
    try {
      results = await this.#options.queue.send(
        batch.map(({ message, recovered }) => toSentMessage(message, recovered, this.#machine)),
      );
    } catch (error) {
      if (!(error instanceof QueueError)) throw error;
      results = batch.map(() => error);
    }
    // Without a journal, memory would fill up within seconds, and then newer packs would be dropped in place of these.
    const isLost = (error: QueueError) => isFinal(error) || (error.code === "FULL" && !this.#journal);
    const toRetry = batch.filter((_parcel, i) => results[i] && !isLost(results[i]));
    const shipped: Parcel[] = [];
    batch.forEach((parcel, i) => {
      const error = results[i];
      if (error === undefined) shipped.push(parcel);
      else if (error.code === "TOO_BIG") this.#drop(parcel, "oversize", error.message);
      else if (isFinal(error)) this.#drop(parcel, "refused by the queue", error.message);
      else if (isLost(error)) this.#drop(parcel, "queue full", error.message);
    });
    this.#requeue(toRetry);
    this.#shipped(shipped);
    const problem = results.find((error) => error && !isFinal(error));
    return { taken: batch.length - toRetry.length, ...(problem && { problem }) };
  }

  /** Returns packs to memory or to the journal. A pack of the journal is lost if its segment was removed meanwhile. */
  #requeue(parcels: readonly Parcel[]): void {
    const live = parcels.filter(({ heldBytes }) => heldBytes > 0);
    for (const parcel of parcels) {
      if (parcel.heldBytes > 0) continue;
      if (parcel.ticket && this.#journal?.release(parcel.ticket)) continue;
      this.#drop(parcel, "journal full");
    }
    this.#live.unshift(...live);
    for (const { heldBytes } of live) this.#liveBytes += heldBytes;
  }

  #shipped(parcels: readonly Parcel[]): void {
    if (parcels.length === 0) return;
    const totals = { packs: 0, sealedBytes: 0, heldBytes: 0, requests: 0, volatileRequests: 0, recoveredRequests: 0 };
    for (const parcel of parcels) {
      const { message, ticket, heldBytes, recovered } = parcel;
      totals.packs++;
      totals.sealedBytes += message.pack.length;
      totals.heldBytes += heldBytes;
      if (recovered) totals.recoveredRequests += message.requests;
      else totals.requests += message.requests;
      if (!recovered && this.#isVolatile(parcel)) totals.volatileRequests += message.requests;
      if (ticket) this.#journal?.done(ticket);
    }
    this.#options.post({ kind: "shipped", ...totals });
    this.#journal?.report();
  }

  #drop(parcel: Parcel, reason: DropReason, detail?: string): void {
    const { message, ticket, heldBytes, recovered } = parcel;
    const { requests } = message;
    const volatileRequests = !recovered && this.#isVolatile(parcel) ? requests : 0;
    if (ticket) this.#journal?.done(ticket);
    const dropped = { kind: "dropped", reason, requests, volatileRequests, heldBytes, recovered } as const;
    this.#options.post(detail === undefined ? dropped : { ...dropped, detail });
  }

  #hold(parcel: Parcel): void {
    this.#live.push(parcel);
    this.#liveBytes += parcel.heldBytes;
  }
}

// The queue would refuse the pack every time, and packs to retry are ahead of all others.
function isFinal(error: QueueError): boolean {
  return error.code === "TOO_BIG" || error.code === "BAD_ARGUMENT";
}
