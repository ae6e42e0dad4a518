import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import { damagedText } from "../../relay/queue/damaged-file.ts";
import type { QueueErrorCode } from "../../relay/queue/port.ts";
import type { ClosedPack } from "../intake/packer.ts";
import { type AgentLedger, addTo, type DropReason } from "../ledger.ts";
import type { DroppedMessage, FromWorker, ShippedMessage, ToWorker, WorkerOptions } from "./messages.ts";
import { runShipperWorker } from "./worker.ts";

export interface ShipperOptions {
  readonly worker: WorkerOptions;
  readonly ledger: AgentLedger;
  readonly log: Logger;
  /** Receives the size of a pack before and after compression, and its buffer for reuse. */
  readonly onSealed: (contentBytes: number, sealedBytes: number, buffer: ArrayBuffer) => void;
}

const restartMs = 1_000;
const youngGenerationMb = 8;
// A pack that fails with another code is dropped, not retried.
const retriedCodes = ["UNAVAILABLE", "DENIED", "FULL"] as const satisfies readonly QueueErrorCode[];
const queueTexts = {
  down: [
    "queue-down",
    "the agent cannot send packs to the queue; it retries until it can, but without a journal it drops requests while the queue is full",
  ],
  up: ["queue-up", "the agent sends packs to the queue again"],
} as const;
const journalTexts = {
  down: [
    "journal-down",
    "the agent cannot write packs to its journal, or its disk does not sync them: a crash or a power failure would lose packs; fix the cause in reason",
  ],
  up: ["journal-up", "the agent writes packs to its journal again"],
} as const;
const threadTexts = {
  down: [
    "shipper-failed",
    "the shipper thread failed, so no packs are sent; fix the cause in reason: the agent restarts the thread every second",
  ],
  up: ["shipper-started", "the shipper thread runs again"],
} as const;
const hangTexts = {
  down: [
    "shipper-hangs",
    "the shipper thread does not answer, so no packs are sent: it waits for a disk or another part of the system; check the directories of the queue and the journal",
  ],
  up: ["shipper-answers", "the shipper thread answers again"],
} as const;
// The queue may be busy for 5 s, in which the thread waits for it.
const askEveryMs = 3_000;
// Checks and not time: after a stop of the whole process, both threads have to run again first.
const silentChecks = 2;
const role = "spoa-relay shipper";

/**
 * The main thread's side of the shipper: transfers closed packs to the shipper thread without copying them, and counts
 * the bytes and requests that wait there.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  #worker: Worker | undefined;
  #waitingBytes = 0;
  // Requests that are not in the journal: lost if the thread fails.
  #volatileRequests = 0;
  #journalBytes = 0;
  #journalPacks = 0;
  readonly #dropLog = new Throttle(10_000);
  #heldBackRequests = 0;
  #onStopped: (() => void) | undefined;
  readonly #queue: Outage<QueueErrorCode>;
  readonly #journal: Outage;
  readonly #thread: Outage;
  readonly #hang: Outage;
  readonly #watch: NodeJS.Timeout;
  /** Checks since the thread was asked whether it answers; undefined if it has answered. */
  #silent: number | undefined;
  packs = 0;
  sealedBytes = 0;

  constructor(options: ShipperOptions) {
    this.#options = options;
    const { log } = options;
    this.#queue = new Outage(log, queueTexts, retriedCodes);
    this.#journal = new Outage(log, journalTexts);
    this.#thread = new Outage(log, threadTexts);
    this.#hang = new Outage(log, hangTexts);
    this.#watch = setInterval(() => this.#checkThread(), askEveryMs).unref();
    this.#start();
  }

  /** Bytes in the shipper thread: packs that wait for compression count uncompressed, the others compressed. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Bytes of the journal on disk, and packs that are only there. */
  get journal(): { readonly bytes: number; readonly packs: number } {
    return { bytes: this.#journalBytes, packs: this.#journalPacks };
  }

  /** Why packs cannot be sent to the queue, or written to the journal; undefined if they can. */
  get problems(): { readonly queue: string | undefined; readonly journal: string | undefined } {
    const thread = this.#thread.problem ?? this.#hang.problem;
    return { queue: thread ?? this.#queue.problem, journal: this.#journal.problem };
  }

  /** Failed attempts to send packs, by code. */
  get queueErrors(): ReadonlyMap<QueueErrorCode, number> {
    return this.#queue.failures;
  }

  ship(pack: ClosedPack): void {
    const { content, summary, span } = pack;
    if (!this.#worker) {
      this.#lose("shipper failed", summary.count);
      return;
    }
    // Counts the whole buffer, even if it is mostly empty: that is the memory it uses.
    this.#waitingBytes += content.buffer.byteLength;
    this.#volatileRequests += summary.count;
    const { buffer } = content;
    this.#post({ kind: "pack", buffer, bytes: content.length, summary, span }, [buffer]);
  }

  /**
   * Sends waiting packs for at most `withinMs`, then ends the thread. Packs that are not journaled then are given up.
   */
  async stop(withinMs: number): Promise<void> {
    const worker = this.#worker;
    clearInterval(this.#watch);
    if (!worker) return;
    const stopped = new Promise<void>((resolve) => {
      this.#onStopped = resolve;
    });
    this.#post({ kind: "stop", withinMs });
    // The thread itself keeps the deadline; the timer is for a thread that hangs.
    const timer = setTimeout(() => this.#onStopped?.(), withinMs + 1_000);
    await stopped;
    clearTimeout(timer);
    this.#worker = undefined;
    await worker.terminate();
    this.#lose("given up at exit", this.#volatileRequests);
    this.#volatileRequests = 0;
  }

  #start(): void {
    // The thread runs this file, or the bundle that contains it: see the last line.
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { role, options: this.#options.worker },
      // The thread's objects are large and short-lived: a young generation of the default size would only hold memory.
      resourceLimits: { maxYoungGenerationSizeMb: youngGenerationMb },
    });
    this.#worker = worker;
    worker.on("message", (message: FromWorker) => this.#receive(message));
    worker.on("error", (error) => this.#fail(worker, error));
    worker.on("exit", (code) => this.#fail(worker, new Error(`the thread ended with code ${code}`)));
    this.#ask();
  }

  #receive(message: FromWorker): void {
    const { log, onSealed } = this.#options;
    switch (message.kind) {
      case "sealed":
        this.#waitingBytes += message.heldBytes - message.buffer.byteLength;
        if (message.journaled) this.#volatileRequests -= message.requests;
        onSealed(message.contentBytes, message.sealedBytes, message.buffer);
        break;
      case "shipped":
        this.#shipped(message);
        break;
      case "dropped":
        this.#dropped(message);
        break;
      case "started":
        this.#thread.recover();
        break;
      case "present":
        this.#silent = undefined;
        this.#hang.recover();
        break;
      case "queueDamaged":
        log.error({ event: "queue-damaged", ...message.damaged }, damagedText);
        break;
      case "queueFailed":
        this.#queue.fail(message.message, { code: message.code });
        break;
      case "queueUp":
        this.#queue.recover();
        break;
      case "journalDown":
        this.#journal.fail(message.message);
        break;
      case "journalUp":
        this.#journal.recover();
        break;
      case "exposed":
        this.#volatileRequests += message.requests;
        break;
      case "journal":
        this.#journalBytes = message.bytes;
        this.#journalPacks = message.packs;
        break;
      case "recovered": {
        const { packs, requests, damaged } = message;
        log.warn(
          { event: "recovered", packs, requests, damaged },
          "the journal contains packs of an earlier run: they are sent now; damaged records are lost",
        );
        break;
      }
      case "stopped":
        // It ends now, as it should.
        this.#worker = undefined;
        this.#onStopped?.();
        break;
    }
  }

  #shipped({ packs, sealedBytes, heldBytes, requests, volatileRequests, recoveredRequests }: ShippedMessage): void {
    const { ledger } = this.#options;
    this.#waitingBytes -= heldBytes;
    this.#volatileRequests -= volatileRequests;
    this.packs += packs;
    this.sealedBytes += sealedBytes;
    ledger.pending -= requests;
    ledger.enqueued += requests;
    ledger.recovered += recoveredRequests;
  }

  #dropped({ reason, requests, volatileRequests, heldBytes, recovered, detail }: DroppedMessage): void {
    this.#waitingBytes -= heldBytes;
    this.#volatileRequests -= volatileRequests;
    if (!recovered) this.#lose(reason, requests);
    this.#heldBackRequests += requests;
    this.#dropLog.run(performance.now(), () => {
      const fields = { event: "dropped", reason, requests: this.#heldBackRequests, recovered, detail };
      this.#options.log.warn(fields, "requests were dropped and will not be replayed");
      this.#heldBackRequests = 0;
    });
  }

  #checkThread(): void {
    if (!this.#worker) return;
    if (this.#silent === undefined) return this.#ask();
    this.#silent++;
    if (this.#silent < silentChecks) return;
    this.#hang.fail(`the shipper thread has not answered for ${(this.#silent * askEveryMs) / 1_000} s`);
  }

  #ask(): void {
    this.#silent = 0;
    this.#post({ kind: "ask" });
  }

  #fail(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#hang.forget();
    const lost = this.#volatileRequests > 0 ? `; lost requests: ${this.#volatileRequests}` : "";
    this.#thread.fail(`${error.message}${lost}`);
    // The next thread reports the state of the queue and the journal again.
    this.#queue.forget();
    this.#journal.forget();
    this.#worker = undefined;
    this.#lose("shipper failed", this.#volatileRequests);
    this.#volatileRequests = 0;
    this.#waitingBytes = 0;
    if (this.#onStopped) this.#onStopped();
    else setTimeout(() => this.#start(), restartMs).unref();
  }

  #lose(reason: DropReason, requests: number): void {
    if (requests === 0) return;
    this.#options.ledger.pending -= requests;
    addTo(this.#options.ledger.dropped, reason, requests);
  }

  #post(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }
}

if (!isMainThread && parentPort && workerData?.role === role) await runShipperWorker(parentPort, workerData.options);
