import { type Logger, Throttle } from "./log.ts";

export interface OutageTexts {
  /** Event and message of the log lines, such as `queue-down`. */
  readonly down: readonly [event: string, text: string];
  readonly up: readonly [event: string, text: string];
  /** Fields of both lines, such as the name of the queue. */
  readonly about?: object;
  readonly level?: "error" | "warn";
  /** How often a failure that goes on is logged; default once a minute. */
  readonly everyMs?: number;
}

interface Kind {
  /** When this kind of failure was last logged in this outage. */
  loggedAtMs: number | undefined;
  heldBack: number;
}

const repeatMs = 60_000;
// Outages that are logged in a minute, with their ends. Further ones are only counted.
const mostPerMinute = 5;

/**
 * The state of something that fails and recovers by itself, such as a queue: why it fails now, and how often it has failed.
 *
 * Logs the beginning of an outage and each further kind of failure in it at once, a failure that goes on once a minute with the
 * number of lines held back, and the end at once. If it keeps failing and recovering, at most five outages a
 * minute are logged. Logs an end only if it has logged the beginning, so the last line tells the state of
 * every outage that lasts more than a minute.
 */
export class Outage<Code extends string = "FAILED"> {
  /** Failures since the start, by code; every code that was given is present from the start. */
  readonly failures: ReadonlyMap<Code, number>;
  readonly #failures: Map<Code, number>;
  readonly #kinds = new Map<Code, Kind>();
  readonly #beginnings = new Throttle(repeatMs, mostPerMinute);
  readonly #texts: OutageTexts;
  readonly #log: Logger | undefined;
  #problem: string | undefined;
  #sinceMs = 0;
  #failuresNow = 0;

  constructor(log: Logger | undefined, texts: OutageTexts, codes: readonly Code[] = []) {
    this.#failures = new Map(codes.map((code) => [code, 0]));
    this.failures = this.#failures;
    this.#texts = texts;
    this.#log = log;
  }

  /** Why it fails now; undefined if it works, as far as is known. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** @param fields further fields of the log line */
  fail(
    reason: string,
    {
      code,
      fields,
      nowMs = performance.now(),
    }: { readonly code?: Code; readonly fields?: object; readonly nowMs?: number } = {},
  ): void {
    if (this.#problem === undefined) {
      this.#sinceMs = nowMs;
      this.#failuresNow = 0;
    }
    this.#problem = reason;
    this.#failuresNow++;
    const key = code ?? ("FAILED" as Code);
    this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
    const kind = this.#kinds.get(key) ?? { loggedAtMs: undefined, heldBack: 0 };
    this.#kinds.set(key, kind);
    const logLine = (heldBack: number) => {
      kind.loggedAtMs = nowMs;
      const all = heldBack + kind.heldBack;
      kind.heldBack = 0;
      const { down, about, level = "error" } = this.#texts;
      const [event, text] = down;
      const counted = { ...(code !== undefined && { code }), reason, ...fields, ...(all > 0 && { heldBack: all }) };
      this.#log?.[level]({ event, ...about, ...counted }, text);
    };
    if (kind.loggedAtMs === undefined) this.#beginnings.run(nowMs, logLine);
    else if (Math.abs(nowMs - kind.loggedAtMs) < (this.#texts.everyMs ?? repeatMs)) kind.heldBack++;
    else logLine(0);
  }

  /** Forgets the problem without a log line: from now on, the state is unknown. */
  forget(): void {
    this.#problem = undefined;
  }

  /** @param fields further fields of the log line */
  recover({ fields, nowMs = performance.now() }: { readonly fields?: object; readonly nowMs?: number } = {}): void {
    this.forget();
    const logged = [...this.#kinds.values()].filter(({ loggedAtMs }) => loggedAtMs !== undefined);
    if (logged.length === 0) return;
    for (const kind of logged) kind.loggedAtMs = undefined;
    const { up, about } = this.#texts;
    const [event, text] = up;
    const downMs = Math.max(0, nowMs - this.#sinceMs);
    this.#log?.info({ event, ...about, downMs, failures: this.#failuresNow, ...fields }, text);
  }
}
