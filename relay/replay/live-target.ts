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

/** What a request may do that asks for admission. */
export type Admission =
  /** Be sent. */
  | "send"
  /** Be sent as the one request that finds out whether the shadow is back. */
  | "probe"
  /** Wait. */
  | "wait";

// How old what is known of a target may be before it is read again, and before nothing is sent without it.
const freshMs = 1_000;
const staleMs = 5_000;
const shortestHoldMs = 60_000;
const longestHoldMs = 900_000;
// What a slowdown leaves of a rate at least, where it is not slower by itself.
const slowestPerSecond = 0.1;
// How often a change is tried again that others were faster with.
const writeAttempts = 5;

/**
 * A target as it stands now: its configuration, and what was changed of it while it runs. All workers see a change within
 * about a second. Where the state cannot be read, nothing may be sent.
 */
export class LiveTarget {
  readonly config: TargetConfig;
  readonly #controls: Controls;
  readonly #now: () => number;
  #control: TargetControl = {};
  #version = 0;
  #held: string | undefined;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;
  #failures = 0;
  #writing = false;

  /** @param now milliseconds since 1970 */
  constructor(config: TargetConfig, controls: Controls, now: () => number = Date.now) {
    this.config = config;
    this.#controls = controls;
    this.#now = now;
  }

  /** Requests a second that may be sent now; Infinity where there is no limit. */
  get ratePerSecond(): number {
    const { ratePerSecond = this.config.ratePerSecond } = this.#control.settings ?? {};
    if (ratePerSecond === "unlimited") return Number.POSITIVE_INFINITY;
    // Not below one in ten seconds: a rate that slow harms nobody, and leases so far ahead would outlast the slowdown.
    const leastPerSecond = Math.min(ratePerSecond, slowestPerSecond);
    return Math.max(leastPerSecond, ratePerSecond * paceFactor(this.#control, this.#readAtMs));
  }

  /** Connections that a process may have to the shadow. */
  get connections(): number {
    return this.#control.settings?.concurrency ?? this.config.concurrency;
  }

  /** Requests under way at once, in this process. Where the rate has no limit, a shadow that asks for less gets fewer. */
  get concurrency(): number {
    if (this.ratePerSecond !== Number.POSITIVE_INFINITY) return this.connections;
    return Math.max(1, Math.floor(this.connections * paceFactor(this.#control, this.#readAtMs)));
  }

  /** Share of the requests that the target gets, 0 to 1. */
  get sampleFraction(): number {
    return this.#control.settings?.sample ?? this.config.sample.fraction;
  }

  /** Why nothing but a probe is sent now; undefined where requests are sent. As of the last reading. */
  get held(): string | undefined {
    return this.#held;
  }

  /**
   * Reads what has changed, at most once a second. Throws `StateError` where that fails and what is known is older than
   * five seconds.
   */
  async refresh(): Promise<void> {
    if (this.#isFresh()) return;
    try {
      await this.#read();
    } catch (error) {
      if (!(error instanceof StateError) || this.#now() - this.#readAtMs > staleMs) throw error;
    }
  }

  /** True where a request may be sent at once. What is older than a second is read anew meanwhile. */
  get open(): boolean {
    const ageMs = this.#now() - this.#readAtMs;
    if (!(ageMs >= 0 && ageMs <= staleMs)) return false;
    if (ageMs >= freshMs) this.#read().catch(() => {});
    return this.#held === undefined;
  }

  /** How long what is held now should wait before it asks again: the longer the breaker has been open, the longer. */
  get holdMs(): number {
    const openedAtMs = this.#control.breaker?.openedAtMs ?? this.#now();
    return Math.min(Math.max((this.#now() - openedAtMs) / 4, shortestHoldMs), longestHoldMs);
  }

  /** Asks whether a request may be sent. Throws as `refresh`. */
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

  /** Learns from what came of a request: opens and closes the breaker, lowers the pace. Never rejects. */
  async note(outcome: Outcome, admission: Admission): Promise<void> {
    if (outcome.kind === "answered") return this.#noteAnswer();
    if (outcome.kind === "undelivered" && outcome.retryAfterMs !== undefined) {
      this.#failures = 0;
      return this.#changeOnce((control) => closeBreaker(slowDown(control, this.#now())));
    }
    if (outcome.kind !== "undelivered" && outcome.kind !== "timedOut") return;
    this.#failures++;
    const { failures, probeAfterMs } = this.config.breaker;
    if (admission === "probe") return this.#changeOnce((control) => delayProbe(control, this.#now(), probeAfterMs));
    if (this.#failures < failures) return;
    await this.#changeOnce((control) => openBreaker(control, this.#now(), probeAfterMs, outcome.reason));
  }

  #isFresh(): boolean {
    const ageMs = this.#now() - this.#readAtMs;
    return ageMs < freshMs && ageMs >= 0;
  }

  async #noteAnswer(): Promise<void> {
    this.#failures = 0;
    if (this.#control.breaker) await this.#changeOnce(closeBreaker);
  }

  /** Many outcomes ask for the same change at once: one of them makes it. What fails is asked for again by the next. */
  async #changeOnce(change: (control: TargetControl) => TargetControl): Promise<void> {
    if (this.#writing || change(this.#control) === this.#control) return;
    this.#writing = true;
    try {
      await this.#change(change, writeAttempts);
    } catch {
      // The state is away: then nothing is sent, anyway.
    } finally {
      this.#writing = false;
    }
  }

  /** True where the change was made by us; false where there was nothing to change, or others were faster each time. */
  async #change(change: (control: TargetControl) => TargetControl, attempts: number): Promise<boolean> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const changed = change(this.#control);
      if (changed === this.#control) return false;
      const written = await this.#controls.write(this.config.name, changed, this.#version);
      await this.#read();
      if (written) return true;
    }
    return false;
  }

  #read(): Promise<void> {
    this.#reading ??= this.#controls
      .read(this.config.name)
      .then(({ control, version }) => {
        this.#control = control;
        this.#version = version;
        this.#readAtMs = this.#now();
        this.#held = whyHeld(this.config, control, this.#readAtMs);
      })
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }
}

/** Why nothing but a probe is sent to a target, in words; undefined where requests are sent. */
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
