import { type Logger, Throttle } from "../log/log.ts";
import { Outage } from "../log/outage.ts";
import { paceFactor, type TargetControl } from "../state/target-control.ts";
import type { Outcome } from "./outcome.ts";

export interface TargetLogOptions {
  readonly target: string;
  readonly log: Logger;
  /**
   * Whether changes that other processes made are logged, too. Otherwise, each change is logged by the process that made it:
   * that is enough in Lambda, where every environment would repeat it.
   */
  readonly everyChange: boolean;
}

const shadowTexts = {
  down: [
    "shadow-failing",
    "requests to the shadow fail; its breaker opens if the failures go on and nothing else is answered",
  ],
  up: ["shadow-answers", "the shadow answers again"],
} as const;
const breakerTexts = {
  down: [
    "breaker-open",
    "the shadow is away, so the target's breaker is open: its requests wait in the queue, and a probe every 1 to 30 s finds out when it is back",
  ],
  up: [
    "breaker-closed",
    "the target's breaker is closed: the shadow answers, and the waiting requests are sent at the target's rate",
  ],
} as const;
const slowTexts = {
  down: [
    "slowed-down",
    "the shadow asks for less (429 or 503 with Retry-After): the target sends a share of its rate, which doubles 10 s after the last such answer",
  ],
  up: ["full-rate", "the shadow no longer asks for less: the target sends at its full rate"],
  level: "warn",
} as const;
// An open breaker sends a probe at least every 30 s.
const probesPerMinute = 2;

/** Logs the states of a target, one line when it enters or leaves one: its shadow, breaker, slowdown, and its plan. */
export class TargetLog {
  readonly #options: TargetLogOptions;
  readonly #shadow: Outage;
  readonly #breaker: Outage;
  readonly #slow: Outage;
  readonly #closings = new Throttle(60_000, 5);
  readonly #probes = new Throttle(60_000, probesPerMinute);
  #control: TargetControl = {};
  #held: string | undefined;
  #repaired = "";

  constructor(options: TargetLogOptions) {
    const { target, log } = options;
    this.#options = options;
    this.#shadow = new Outage(log, { ...shadowTexts, about: { target } });
    this.#breaker = new Outage(log, { ...breakerTexts, about: { target } });
    this.#slow = new Outage(log, { ...slowTexts, about: { target } });
  }

  /** Learns how a request ended. */
  tried(outcome: Outcome, nowMs: number): void {
    const { kind } = outcome;
    if (kind === "answered" || kind === "malformed") this.#shadow.recover({ nowMs });
    // A shadow that asks for less is not away: the slowdown is logged.
    else if (
      kind === "timedOut" ||
      kind === "closed" ||
      (kind === "undelivered" && outcome.retryAfterMs === undefined)
    ) {
      this.#shadow.fail(outcome.reason, { nowMs });
    }
  }

  /** Learns the control that this process has written. */
  wrote(control: TargetControl, nowMs: number): void {
    this.#compare(control, nowMs, true);
  }

  /**
   * Learns the control that was read.
   *
   * @param held why the target sends nothing by its plan: it is paused, in a blackout or outside its windows
   */
  read(control: TargetControl, held: string | undefined, nowMs: number): void {
    this.#compare(control, nowMs, this.#options.everyChange);
    if (this.#slow.problem !== undefined && paceFactor(control, nowMs) === 1) this.#slow.recover({ nowMs });
    if (held !== this.#held && this.#options.everyChange) this.#tellPlan(held);
    this.#held = held;
  }

  /** Learns what the state holds out of bounds, see `VersionedControl`: one line each time it is something else. */
  repaired(repairs: readonly string[]): void {
    const text = repairs.join("; ");
    if (text !== "" && text !== this.#repaired) {
      this.#options.log.warn(
        { event: "setting-repaired", ...this.#about, reason: text },
        "the state holds a setting of the target that is not allowed: set it again with targets set",
      );
    }
    this.#repaired = text;
  }

  #compare(control: TargetControl, nowMs: number, tell: boolean): void {
    const before = this.#control;
    this.#control = control;
    // The breaker was opened by this process, and another one has closed it.
    if (tell || (before.breaker && !control.breaker)) this.#tellBreaker(before, control, nowMs, tell);
    if (tell && control.slowdown && control.slowdown.atMs !== before.slowdown?.atMs) this.#tellSlowdown(control, nowMs);
  }

  #tellBreaker({ breaker: was }: TargetControl, { breaker: is }: TargetControl, nowMs: number, always: boolean): void {
    if (!is) {
      if (was) this.#tellClosed(was, nowMs, always);
      return;
    }
    const { reason, openedAtMs, probes, probeAtMs } = is;
    const since = new Date(openedAtMs).toISOString();
    if (was?.openedAtMs === openedAtMs && probes > was.probes) {
      this.#probes.run(nowMs, (heldBack) =>
        this.#options.log.info(
          { event: "breaker-half-open", ...this.#about, since, probes, ...(heldBack > 0 && { heldBack }) },
          "one request is sent as a probe of the shadow",
        ),
      );
    } else if (was?.openedAtMs !== openedAtMs || was.probeAtMs !== probeAtMs) {
      this.#breaker.fail(reason, { fields: { since, probes }, nowMs });
    }
  }

  #tellClosed({ openedAtMs, probes }: NonNullable<TargetControl["breaker"]>, nowMs: number, always: boolean): void {
    const fields = { downMs: Math.max(0, nowMs - openedAtMs), probes };
    if (this.#breaker.problem !== undefined) return this.#breaker.recover({ fields, nowMs });
    if (!always) return;
    // Another process has logged that the breaker opened.
    const [event, text] = breakerTexts.up;
    this.#closings.run(nowMs, () => this.#options.log.info({ event, ...this.#about, ...fields }, text));
  }

  #tellSlowdown(control: TargetControl, nowMs: number): void {
    const share = paceFactor(control, nowMs);
    if (share < 1) this.#slow.fail("429 or 503 with Retry-After", { fields: { share }, nowMs });
  }

  #tellPlan(held: string | undefined): void {
    const { log } = this.#options;
    if (held === undefined) log.info({ event: "target-released", ...this.#about }, "the target sends requests again");
    else
      log.info({ event: "target-held", ...this.#about, reason: held }, "the target sends nothing: its requests wait");
  }

  get #about(): { readonly target: string } {
    return { target: this.#options.target };
  }
}
