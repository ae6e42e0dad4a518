import { compactCapture } from "../../relay/capture/capture-compaction.ts";
import type { SkippedPart } from "../../relay/capture/capture-reader.ts";
import { expireCapture } from "../../relay/capture/expiry.ts";
import type { CaptureConfig } from "../../relay/config/config.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import type { Stores } from "../../relay/stores.ts";

export interface CaptureUpkeepOptions {
  readonly captures: readonly CaptureConfig[];
  readonly archives: Stores["archives"];
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

const minuteMs = 60_000;
const hourMs = 3_600_000;
// A minute is over when what was captured in it can be expected to be there.
const settledMs = minuteMs;
const recentMs = 2 * hourMs;
// What comes later than that is found when its hour has its turn again: packs may wait in a journal for days.
const hoursInTurn = 15 * 24;
// Most work of one call: it is called again in a minute.
const budgetMs = 20_000;
const maxExpired = 5_000;

/**
 * Keeps captures in order, to be called each minute: merges the small objects of minutes that are over, and deletes what is
 * too old from directories. It remembers only what it need not read again, so it does not matter which process does it, or
 * whether several do.
 */
export class CaptureUpkeep {
  readonly #options: CaptureUpkeepOptions;
  readonly #now: () => number;
  readonly #broken = new Throttle(hourMs);
  readonly #away = new Throttle(hourMs);
  /** See `CompactionOptions`. */
  readonly #settled = new Set<string>();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: CaptureUpkeepOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Calls `run` now and each minute, unless the last call is still under way; what it rejects with is logged. */
  start(): void {
    const turn = () => {
      this.#running ??= this.run()
        .catch((error: Error) => this.#reportAway(error))
        .finally(() => {
          this.#running = undefined;
        });
    };
    turn();
    this.#timer = setInterval(turn, minuteMs);
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
  }

  /** Rejects with what the first capture failed with; the others are looked after all the same. */
  async run(): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(budgetMs), this.#stopping.signal]);
    const results = await Promise.allSettled(this.#options.captures.map((capture) => this.#care(capture, signal)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #care({ name, store, keepMs }: CaptureConfig, signal: AbortSignal): Promise<void> {
    const archive = this.#options.archives.get(name);
    if (!archive) return;
    const nowMs = this.#now();
    const onSkip = (part: SkippedPart) => this.#complain(name, part);
    const oldestMs = nowMs - keepMs;
    // In a bucket a lifecycle rule does it, which costs nothing.
    if (store.kind === "directory") await expireCapture(archive, name, { beforeMs: oldestMs, maxObjects: maxExpired });
    const shared = { settled: this.#settled, signal, onSkip };
    const recent = { fromMs: Math.max(oldestMs, nowMs - recentMs), toMs: nowMs - settledMs };
    await compactCapture(archive, name, { ...recent, ...shared });
    const hour = toEarlierHour(nowMs);
    if (hour.fromMs < oldestMs) return;
    await compactCapture(archive, name, { ...hour, ...shared });
  }

  #reportAway({ message }: Error): void {
    this.#away.run(this.#now(), (heldBack) =>
      this.#options.log.warn(
        { event: "upkeep-failed", reason: message, heldBack },
        "the upkeep of a capture failed: it was not fully merged and expired; retrying in a minute",
      ),
    );
  }

  #complain(capture: string, { name, requests, reason }: SkippedPart): void {
    this.#broken.run(this.#now(), (heldBack) =>
      this.#options.log.warn(
        { event: "capture-broken", capture, object: name, requests, reason, heldBack },
        "an object of a capture cannot be read: it is left as it is, and its requests are missing from the capture",
      ),
    );
  }
}

/** Another hour each minute, all of them in turn. */
function toEarlierHour(nowMs: number): { readonly fromMs: number; readonly toMs: number } {
  const turn = Math.floor(nowMs / minuteMs) % hoursInTurn;
  const toMs = nowMs - recentMs - turn * hourMs;
  // Half an hour more at its beginning, so that each object is within one of them.
  return { fromMs: toMs - 1.5 * hourMs, toMs };
}
