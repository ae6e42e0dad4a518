import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Logger, Throttle } from "../relay/log.ts";
import { type AgentLedger, addTo, type DropReason } from "./ledger.ts";
import type { ClosedPack } from "./packer.ts";
import type { DroppedMessage, FromWorker, ShippedMessage, ToWorker, WorkerOptions } from "./shipper-messages.ts";
import { runShipperWorker } from "./shipper-worker.ts";

export interface ShipperOptions {
  readonly worker: WorkerOptions;
  readonly ledger: AgentLedger;
  readonly log: Logger;
  /** Is told how well a pack was compressed, and gets its buffer back. */
  readonly onSealed: (contentBytes: number, sealedBytes: number, buffer: ArrayBuffer) => void;
}

const restartMs = 1_000;
const role = "spoa-relay shipper";

/**
 * The main thread's side of the shipper: hands closed packs to the worker thread without copying them, and keeps count of
 * what waits there.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  #worker: Worker | undefined;
  #waitingBytes = 0;
  // Not in the journal: lost if the thread fails.
  #volatileRequests = 0;
  #journalProblem: string | undefined;
  #journalBytes = 0;
  #journalPacks = 0;
  readonly #dropLog = new Throttle(10_000);
  #heldBackRequests = 0;
  #onStopped: (() => void) | undefined;
  #queueProblem: string | undefined;
  packs = 0;
  sealedBytes = 0;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#start();
  }

  /** What the worker holds, in bytes: packs that wait for compression at their full size, the others compressed. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Why packs do not get into the journal at the moment, or undefined. */
  get journalProblem(): string | undefined {
    return this.#journalProblem;
  }

  /** What the journal takes on disk, and the packs that wait there alone. */
  get journal(): { readonly bytes: number; readonly packs: number } {
    return { bytes: this.#journalBytes, packs: this.#journalPacks };
  }

  /** Why packs do not get into the queue at the moment, or undefined. */
  get queueProblem(): string | undefined {
    return this.#queueProblem;
  }

  ship(pack: ClosedPack): void {
    const { content, summary } = pack;
    if (!this.#worker) {
      this.#lose("shipper failed", summary.count);
      return;
    }
    this.#waitingBytes += content.length;
    this.#volatileRequests += summary.count;
    const { buffer } = content;
    this.#post({ kind: "pack", buffer, bytes: content.length, summary }, [buffer]);
  }

  /** Sends what waits for at most `withinMs`, then ends the thread. What is in no journal then is counted as given up. */
  async stop(withinMs: number): Promise<void> {
    const worker = this.#worker;
    if (!worker) return;
    const stopped = new Promise<void>((resolve) => {
      this.#onStopped = resolve;
    });
    this.#post({ kind: "stop", withinMs });
    // The worker keeps to the time by itself; the timer is for one that hangs.
    const timer = setTimeout(() => this.#onStopped?.(), withinMs + 1_000);
    await stopped;
    clearTimeout(timer);
    this.#worker = undefined;
    await worker.terminate();
    this.#lose("given up at exit", this.#volatileRequests);
    this.#volatileRequests = 0;
  }

  #start(): void {
    // This very file, or the bundle that holds it, runs again in the thread: see its last lines.
    const worker = new Worker(new URL(import.meta.url), { workerData: { role, options: this.#options.worker } });
    this.#worker = worker;
    worker.on("message", (message: FromWorker) => this.#take(message));
    worker.on("error", (error) => this.#fail(worker, error));
  }

  #take(message: FromWorker): void {
    const { log, onSealed } = this.#options;
    switch (message.kind) {
      case "sealed":
        this.#waitingBytes += message.heldBytes - message.contentBytes;
        if (message.journaled) this.#volatileRequests -= message.requests;
        onSealed(message.contentBytes, message.sealedBytes, message.buffer);
        break;
      case "shipped":
        this.#shipped(message);
        break;
      case "dropped":
        this.#dropped(message);
        break;
      case "queueDown":
        this.#queueProblem = message.message;
        log.error({ event: "queue-down", reason: message.message }, "the queue takes no packs; trying again");
        break;
      case "queueUp":
        this.#queueProblem = undefined;
        log.info({ event: "queue-up" }, "the queue takes packs again");
        break;
      case "journalDown":
        this.#journalProblem = message.message;
        log.error(
          { event: "journal-down", reason: message.message },
          "packs are not journaled: a crash would lose them",
        );
        break;
      case "journalUp":
        this.#journalProblem = undefined;
        log.info({ event: "journal-up" }, "packs are journaled again");
        break;
      case "journal":
        this.#journalBytes = message.bytes;
        this.#journalPacks = message.packs;
        break;
      case "recovered": {
        const { packs, requests, damaged } = message;
        log.warn({ event: "recovered", packs, requests, damaged }, "an earlier run left packs in the journal");
        break;
      }
      case "stopped":
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
    this.#dropLog.run(Date.now(), () => {
      const fields = { event: "dropped", reason, requests: this.#heldBackRequests, recovered, detail };
      this.#options.log.warn(fields, "requests were dropped");
      this.#heldBackRequests = 0;
    });
  }

  #fail(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#options.log.error(
      { event: "shipper-failed", reason: error.message, requests: this.#volatileRequests },
      "the shipper thread failed and starts again",
    );
    this.#worker = undefined;
    this.#lose("shipper failed", this.#volatileRequests);
    this.#volatileRequests = 0;
    this.#waitingBytes = 0;
    this.#queueProblem = error.message;
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
