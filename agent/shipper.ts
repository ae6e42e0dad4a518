import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import type { Logger } from "../relay/log.ts";
import { type AgentLedger, addTo, type DropReason } from "./ledger.ts";
import type { ClosedPack } from "./packer.ts";
import { type FromWorker, runShipperWorker, type ToWorker, type WorkerOptions } from "./shipper-worker.ts";

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
  #waitingRequests = 0;
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
    this.#waitingRequests += summary.count;
    const { buffer } = content;
    this.#post({ kind: "pack", buffer, bytes: content.length, summary }, [buffer]);
  }

  /** Sends what waits for at most `withinMs`, then ends the thread. What could not be sent is counted as given up. */
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
    this.#lose("given up at exit", this.#waitingRequests);
    this.#waitingRequests = 0;
  }

  #start(): void {
    // This very file, or the bundle that holds it, runs again in the thread: see its last lines.
    const worker = new Worker(new URL(import.meta.url), { workerData: { role, options: this.#options.worker } });
    this.#worker = worker;
    worker.on("message", (message: FromWorker) => this.#take(message));
    worker.on("error", (error) => this.#fail(worker, error));
  }

  #take(message: FromWorker): void {
    const { ledger, log, onSealed } = this.#options;
    switch (message.kind) {
      case "sealed":
        this.#waitingBytes += message.sealedBytes - message.contentBytes;
        onSealed(message.contentBytes, message.sealedBytes, message.buffer);
        break;
      case "shipped":
        this.#waitingBytes -= message.sealedBytes;
        this.#waitingRequests -= message.requests;
        this.packs += message.packs;
        this.sealedBytes += message.sealedBytes;
        ledger.pending -= message.requests;
        ledger.enqueued += message.requests;
        break;
      case "dropped":
        this.#waitingBytes -= message.sealedBytes;
        this.#waitingRequests -= message.requests;
        this.#lose(message.reason, message.requests);
        log.warn(
          { event: "dropped", reason: message.reason, requests: message.requests, detail: message.detail },
          "requests were dropped",
        );
        break;
      case "queueDown":
        this.#queueProblem = message.message;
        log.error({ event: "queue-down", reason: message.message }, "the queue takes no packs; trying again");
        break;
      case "queueUp":
        this.#queueProblem = undefined;
        log.info({ event: "queue-up" }, "the queue takes packs again");
        break;
      case "stopped":
        this.#onStopped?.();
        break;
    }
  }

  #fail(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return;
    this.#options.log.error(
      { event: "shipper-failed", reason: error.message, requests: this.#waitingRequests },
      "the shipper thread failed and starts again",
    );
    this.#worker = undefined;
    this.#lose("shipper failed", this.#waitingRequests);
    this.#waitingRequests = 0;
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
