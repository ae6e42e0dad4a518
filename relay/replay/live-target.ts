import type { TargetConfig } from "../config/config.ts";
import { isWithin } from "../config/time-windows.ts";
import { type Controls, StateError } from "../state/port.ts";
import {
  claimProbe,
  closeBreaker,
  delayProbe,
  isProbeDue,
  openBreaker,
  paceFactor,
  slowDown,
  type TargetControl,
} from "../state/target-control.ts";
import type { Outcome } from "./outcome.ts";
import type { TargetLog } from "./target-log.ts";

/** The answer to a request that asks whether it may be sent. */
export type Admission =
  /** The request may be sent. */
  | "send"
  /** The request may be sent as the only one: its outcome shows whether the shadow is back. */
  | "probe"
  /** The request must wait. */
  | "wait";

// Age at which the control of a target is read again, and age at which nothing is sent until it was read.
const freshMs = 1_000;
const staleMs = 5_000;
const shortestHoldMs = 60_000;
const longestHoldMs = 900_000;
// A slowdown reduces no rate below this; a rate that is configured lower stays as it is.
const slowestPerSecond = 0.1;
// A shadow that has answered anything within this time is not away, however often one of its endpoints fails.
const awayAfterMs = 5_000;
// Attempts to write a change while other workers keep writing first.
const writeAttempts = 5;

/**
 * A target as it is now: its configuration and the live changes to it. All workers see a change within about a second. If
 * the state cannot be read for five seconds, nothing may be sent.
 */
export class LiveTarget {
  readonly config: TargetConfig;
  readonly #controls: Controls;
  readonly #now: () => number;
  readonly #log: TargetLog | undefined;
  #control: TargetControl = {};
  #version = 0;
  #held: string | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #failures = 0;
  /** When the shadow last answered; before its first answer, when the first outcome was noted. */
  #answeredAtMs: number | undefined;
  #writing = false;

  /** @param now milliseconds since 1970 */
  constructor(config: TargetConfig, controls: Controls, now: () => number = Date.now, log?: TargetLog) {
    this.config = config;
    this.#controls = controls;
    this.#now = now;
    this.#log = log;
  }

  /** Requests a second that may be sent now; Infinity if there is no limit. */
  get ratePerSecond(): number {
    const { ratePerSecond = this.config.ratePerSecond } = this.#control.settings ?? {};
    if (ratePerSecond === "unlimited") return Number.POSITIVE_INFINITY;
    // Slowed to one request in ten seconds at most: that rate does no harm, and a slot further ahead would outlast the
    // slowdown.
    const leastPerSecond = Math.min(ratePerSecond, slowestPerSecond);
    return Math.max(leastPerSecond, ratePerSecond * paceFactor(this.#control, this.#readAtMs));
  }

  /** Maximum number of connections of a process to the shadow. */
  get connections(): number {
    return this.#control.settings?.concurrency ?? this.config.concurrency;
  }

  /** Requests in flight at once in this process. If the rate has no limit, a slowdown reduces their number instead. */
  get concurrency(): number {
    if (this.ratePerSecond !== Number.POSITIVE_INFINITY) return this.connections;
    return Math.max(1, Math.floor(this.connections * paceFactor(this.#control, this.#readAtMs)));
  }

  /** Share of the requests that the target receives, 0 to 1. */
  get sampleFraction(): number {
    return this.#control.settings?.sample ?? this.config.sample.fraction;
  }

  /** Why nothing but a probe is sent, as of the last read; undefined if requests are sent. */
  get held(): string | undefined {
    return this.#held;
  }

  /**
   * Reads the live changes unless they were read within the last `maxAgeMs`, by default a second; true if it has read them.
   * Throws `StateError` if that fails and the last successful read is more than five seconds ago.
   */
  async refresh(maxAgeMs = freshMs): Promise<boolean> {
    const ageMs = this.#now() - this.#readAtMs;
    if (ageMs < maxAgeMs && ageMs >= 0) return false;
    try {
      await this.#read();
      return true;
    } catch (error) {
      if (!(error instanceof StateError) || this.#now() - this.#readAtMs > staleMs) throw error;
      return false;
    }
  }

  /** True if a request may be sent at once. Starts a read in the background if the last one is a second old. */
  get open(): boolean {
    const ageMs = this.#now() - this.#readAtMs;
    if (!(ageMs >= 0 && ageMs <= staleMs)) return false;
    if (ageMs >= freshMs) this.#read().catch(() => {});
    return this.#held === undefined;
  }

  /** How long held packs should wait before they try again: longer, the longer the breaker has been open. */
  get holdMs(): number {
    const openedAtMs = this.#control.breaker?.openedAtMs ?? this.#now();
    return Math.min(Math.max((this.#now() - openedAtMs) / 4, shortestHoldMs), longestHoldMs);
  }

  /** Asks whether a request may be sent. Throws like `refresh`. */
  async admit(): Promise<Admission> {
    await this.refresh();
    if (this.#held === undefined) return "send";
    const nowMs = this.#now();
    const { timeoutMs, breaker } = this.config;
    const longestMs = Math.max(timeoutMs, breaker.probeAfterMs);
    if (!isProbeDue(this.#control, nowMs, longestMs) || whyClosed(this.config, this.#control, nowMs)) return "wait";
    const claim = (control: TargetControl) => claimProbe(control, nowMs, timeoutMs, longestMs);
    return (await this.#change(claim, 1)) ? "probe" : "wait";
  }

  /** Learns from the outcome of a request: opens and closes the breaker, slows down. Never rejects. */
  async note(outcome: Outcome, admission: Admission): Promise<void> {
    this.#log?.tried(outcome, this.#now());
    const { kind } = outcome;
    if (kind === "answered" || kind === "malformed") return this.#noteAnswer();
    if (kind === "undelivered" && outcome.retryAfterMs !== undefined) {
      this.#countAnswer();
      return this.#changeOnce((control) => closeBreaker(slowDown(control, this.#now())));
    }
    if (kind === "stopped" || kind === "unsendable") return;
    const { failures, probeAfterMs } = this.config.breaker;
    const away = this.#saysAway(outcome);
    if (away) this.#failures++;
    if (admission === "probe") return this.#changeOnce((control) => delayProbe(control, this.#now(), probeAfterMs));
    if (!away || this.#failures < failures) return;
    await this.#changeOnce((control) => openBreaker(control, this.#now(), probeAfterMs, outcome.reason));
  }

  /**
   * Whether an outcome says that the whole shadow is away. If the shadow was reached, a failure says so only if nothing is
   * answered: otherwise one bad endpoint would hold the requests for all others.
   */
  #saysAway(outcome: Outcome): boolean {
    const nowMs = this.#now();
    this.#answeredAtMs ??= nowMs;
    if (outcome.kind === "undelivered" && outcome.away) return true;
    return Math.abs(nowMs - this.#answeredAtMs) > awayAfterMs;
  }

  #countAnswer(): void {
    this.#failures = 0;
    this.#answeredAtMs = this.#now();
  }

  async #noteAnswer(): Promise<void> {
    this.#countAnswer();
    if (this.#control.breaker) await this.#changeOnce(closeBreaker);
  }

  /** Many outcomes ask for the same change at once: the first one makes it. If that fails, the next outcome asks again. */
  async #changeOnce(change: (control: TargetControl) => TargetControl): Promise<void> {
    if (this.#writing || change(this.#control) === this.#control) return;
    this.#writing = true;
    try {
      await this.#change(change, writeAttempts);
    } catch {
      // The state cannot be reached, so nothing is sent anyway.
    } finally {
      this.#writing = false;
    }
  }

  /** True if this worker made the change; false if there was nothing to change, or others wrote first each time. */
  async #change(change: (control: TargetControl) => TargetControl, attempts: number): Promise<boolean> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const changed = change(this.#control);
      if (changed === this.#control) return false;
      const written = await this.#controls.write(this.config.name, changed, this.#version);
      if (written) this.#log?.wrote(changed, this.#now());
      await this.#read();
      if (written) return true;
    }
    return false;
  }

  #read(): Promise<void> {
    this.#reading ??= this.#controls
      .read(this.config.name)
      .then(({ control, version, repairs = [] }) => {
        this.#control = control;
        this.#version = version;
        this.#readAtMs = this.#now();
        this.#held = whyHeld(this.config, control, this.#readAtMs);
        this.#log?.repaired(repairs);
        this.#log?.read(control, whyClosed(this.config, control, this.#readAtMs), this.#readAtMs);
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}

/** Why nothing but a probe is sent to a target, in words; undefined if requests are sent. */
export function whyHeld(target: TargetConfig, control: TargetControl, nowMs: number): string | undefined {
  const plan = whyClosed(target, control, nowMs);
  if (plan !== undefined) return plan;
  if (!control.breaker) return undefined;
  const since = new Date(control.breaker.openedAtMs).toISOString();
  return `the breaker has been open since ${since}: ${control.breaker.reason}`;
}

function whyClosed(target: TargetConfig, control: TargetControl, nowMs: number): string | undefined {
  if (control.settings?.paused) return "paused";
  const blackout = target.blackouts.find((times) => isWithin(times, nowMs));
  if (blackout) return `blackout ${blackout.text}`;
  if (target.windows.length === 0 || target.windows.some((times) => isWithin(times, nowMs))) return undefined;
  return `outside its window ${target.windows.map(({ text }) => text).join(", ")}`;
}
