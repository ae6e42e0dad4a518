import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { LazyArchive } from "../../relay/archive/lazy-archive.ts";
import type { CaptureConfig, Config } from "../../relay/config/config.ts";
import { createLogger, type Logger } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import { SettledClock } from "../../relay/process/settled-clock.ts";
import { CaptureUpkeep } from "./upkeep.ts";

interface UpkeepThreadOptions {
  readonly captures: readonly CaptureConfig[];
  /** The log level of the thread, which logs to the same output as the process. */
  readonly log: Config["log"];
}

const role = "capture-upkeep";
const restartMs = 60_000;

/**
 * Runs `CaptureUpkeep` in a thread: a merge blocks its thread for tenths of a second, in which no request could be sent at
 * its slot.
 */
export class CaptureUpkeepThread {
  readonly #options: UpkeepThreadOptions;
  readonly #outage: Outage;
  #worker: Worker | undefined;
  #restart: NodeJS.Timeout | undefined;

  /** Starts the thread at once, unless there are no captures. */
  constructor(options: UpkeepThreadOptions, log: Logger) {
    this.#options = options;
    this.#outage = new Outage(log, {
      down: [
        "upkeep-died",
        "the capture upkeep thread died: captures are not merged and do not expire; restarting it in a minute",
      ],
      up: ["upkeep-started", "the capture upkeep thread runs again"],
    });
    if (options.captures.length > 0) this.#start();
  }

  /** Ends the thread at once, even during a merge: the next merge removes the copies that it leaves. */
  async stop(): Promise<void> {
    clearTimeout(this.#restart);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): void {
    // The thread runs this file, or the bundle that contains it, and calls `runUpkeep`: see the last line.
    const worker = new Worker(new URL(import.meta.url), { workerData: { role, options: this.#options } });
    this.#worker = worker;
    worker.on("online", () => this.#outage.recover());
    worker.on("error", (error: Error) => this.#fail(worker, error.message));
    worker.on("exit", (code) => this.#fail(worker, `the thread ended with code ${code}`));
  }

  #fail(worker: Worker, reason: string): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#outage.fail(reason);
    this.#restart = setTimeout(() => this.#start(), restartMs);
  }
}

function runUpkeep({ captures, log }: UpkeepThreadOptions): void {
  const archives = new Map(captures.map(({ name, store }) => [name, new LazyArchive(store)]));
  const settled = new SettledClock();
  new CaptureUpkeep({ captures, archives, expiryNow: () => settled.nowMs(), log: createLogger(log) }).start();
}

if (!isMainThread && parentPort && workerData?.role === role) runUpkeep(workerData.options);
