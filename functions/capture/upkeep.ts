import { compactCapture } from "../../relay/capture/capture-compaction.ts";
import type { SkippedPart } from "../../relay/capture/capture-reader.ts";
import { expireCapture } from "../../relay/capture/expiry.ts";
import type { CaptureConfig } from "../../relay/config/config.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import type { Stores } from "../../relay/stores.ts";

export interface CaptureUpkeepOptions {
  readonly captures: readonly CaptureConfig[];
  readonly archives: Stores["archives"];
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** The clock that tells which objects have expired, by default `now`; undefined if it does not know yet. */
  readonly expiryNow?: () => number | undefined;
}

const minuteMs = 60_000;
const hourMs = 3_600_000;
// A minute is merged this long after its end, when its packs should have arrived.
const settledMs = minuteMs;
const recentMs = 2 * hourMs;
// Packs that arrive more than two hours late (they may wait in a journal for days) are merged when their hour has its turn:
// every hour of the last 15 days has one each 6 hours.
const hoursInTurn = 15 * 24;
// Limits of one call. The next call, a minute later, continues.
const budgetMs = 20_000;
const maxExpired = 5_000;

/**
 * Keeps captures in order. Call it each minute: it merges the small objects of past minutes, and deletes expired objects from
 * directories. It remembers only which objects it need not read again, so any process may run it, and several may.
 */
export class CaptureUpkeep {
  readonly #options: CaptureUpkeepOptions;
  readonly #now: () => number;
  readonly #broken = new Throttle(hourMs);
  readonly #away: Outage;
  /** See `CompactionOptions`. */
  readonly #settled = new Set<string>();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(options: CaptureUpkeepOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#away = new Outage(options.log, {
      down: [
        "upkeep-failed",
        "the upkeep of a capture failed: it was not fully merged and expired; retrying in a minute",
      ],
      up: ["upkeep-resumed", "the captures are merged and expire again"],
      level: "warn",
      everyMs: hourMs,
    });
  }

  /** Calls `run` now and each minute, unless the last call has not ended; its errors are logged. */
  start(): void {
    const turn = () => {
      this.#running ??= this.run()
        .then(
          () => this.#away.recover({ nowMs: this.#now() }),
          (error: Error) => this.#away.fail(error.message, { nowMs: this.#now() }),
        )
        .finally(() => {
          this.#running = undefined;
        });
    };
    turn();
    this.#timer = setInterval(turn, minuteMs);
  }

  /** Resolves when the last write has ended. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#running;
  }

  /** Rejects with the error of the first capture that fails; the others are still processed. */
  async run(): Promise<void> {
    const signal = AbortSignal.any([AbortSignal.timeout(budgetMs), this.#stopping.signal]);
    const results = await Promise.allSettled(this.#options.captures.map((capture) => this.#maintain(capture, signal)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #maintain({ name, store, keepMs }: CaptureConfig, signal: AbortSignal): Promise<void> {
    const archive = this.#options.archives.get(name);
    if (!archive) return;
    const nowMs = this.#now();
    const onSkip = (part: SkippedPart) => this.#reportBroken(name, part);
    const oldestMs = nowMs - keepMs;
    const { expiryNow = this.#now } = this.#options;
    const expiryMs = expiryNow();
    // In a bucket a lifecycle rule deletes expired objects, at no cost.
    if (store.kind === "directory" && expiryMs !== undefined) {
      await expireCapture(archive, name, { beforeMs: Math.min(nowMs, expiryMs) - keepMs, maxObjects: maxExpired });
    }
    const shared = { settled: this.#settled, signal, onSkip };
    const recent = { fromMs: Math.max(oldestMs, nowMs - recentMs), toMs: nowMs - settledMs };
    await compactCapture(archive, name, { ...recent, ...shared });
    const hour = toEarlierHour(nowMs);
    if (hour.fromMs < oldestMs) return;
    await compactCapture(archive, name, { ...hour, ...shared });
  }

  #reportBroken(capture: string, { name, requests, reason }: SkippedPart): void {
    this.#broken.run(this.#now(), (heldBack) =>
      this.#options.log.warn(
        { event: "capture-broken", capture, object: name, requests, reason, heldBack },
        "an object of a capture cannot be read: it is left as it is, and its requests are missing from the capture",
      ),
    );
  }
}

/** A different earlier hour each minute, so that all have their turn. */
function toEarlierHour(nowMs: number): { readonly fromMs: number; readonly toMs: number } {
  const turn = Math.floor(nowMs / minuteMs) % hoursInTurn;
  const toMs = nowMs - recentMs - turn * hourMs;
  // Half an hour is added at the beginning, so that each object lies completely within one range.
  return { fromMs: toMs - 1.5 * hourMs, toMs };
}
