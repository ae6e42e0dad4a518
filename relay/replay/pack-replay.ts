import { sendsCapturedCredentials } from "../credentials/captured-credentials.ts";
import type { JobGate } from "../job/job-gate.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import { keyOf, type RequestKey } from "../rules/request-key.ts";
import { whyUnreplayable } from "../rules/unreplayable.ts";
import { type Lane, resizeLane } from "./lane.ts";
import type { Admission } from "./live-target.ts";
import { isBodyIncomplete, type OutboundRequest, prepareOutbound } from "./outbound.ts";
import { answeredFate, isIdempotent, mayHaveActed, type Outcome } from "./outcome.ts";
import type { ReplayOptions, ReplayResult } from "./replay-result.ts";
import { waitForSlot } from "./slot-wait.ts";

const firstRetryMs = 1_000;
const maxRetryMs = 60_000;

/** A request that is finished or in flight. */
interface Started {
  readonly end: Promise<Ended>;
}

/** Finished; to be retried later; or given up because the process stops, as if it had not been sent. */
type Ended = "done" | "again" | "stopped";

/** Replays the requests of one pack and collects their outcomes in `result`. */
export class PackReplay {
  readonly #lane: Lane;
  readonly #pack: Pack;
  readonly #options: ReplayOptions;
  /** These promises never reject: failures are in `#errors`. */
  readonly #inFlight = new Set<Promise<void>>();
  readonly #errors: unknown[] = [];
  readonly #again: PackedRequest[] = [];
  readonly #behind: PackedRequest[] = [];
  readonly #unsent: PackedRequest[] = [];
  readonly #dead = new Map<string, PackedRequest[]>();
  #delayMs: number;
  #reason: string | undefined;
  #laterMs: number | undefined;
  #overdue = 0;
  #failure: Error | undefined;
  #malformed: ReplayResult["malformed"];

  constructor(lane: Lane, pack: Pack, options: ReplayOptions) {
    this.#lane = lane;
    this.#pack = pack;
    this.#options = options;
    this.#delayMs = Math.min(firstRetryMs * 2 ** Math.min(pack.attempt, 20), maxRetryMs);
  }

  /** Waits until the first request of a job's pack is due, or until waiting is pointless. Never rejects. */
  async awaitFirst(request: PackedRequest | undefined): Promise<void> {
    const { gate, signal, patient } = this.#options;
    // The result does not matter: `#awaitTime` asks again for each request.
    if (request && !this.#isOverdue()) await gate?.pass(request, signal, patient).catch(() => {});
  }

  /** Sends requests one after the other, each at its slot, without waiting for answers. */
  async sendInOrder(requests: readonly PackedRequest[]): Promise<void> {
    for (const [i, request] of requests.entries()) {
      if (await this.#start(request)) continue;
      this.#unsent.push(...requests.slice(i));
      return;
    }
  }

  /**
   * Sends the requests of one key one after the other, each once the one before it is answered; different keys run in
   * parallel. The turns of all keys are taken before this method returns its promise.
   */
  async sendByKey(requests: readonly PackedRequest[], key: RequestKey): Promise<void> {
    const chains = Map.groupBy(requests, (request) => keyOf(key, request) ?? request);
    await Promise.all(
      Array.from(chains, ([name, chain]) => {
        const send = () => this.#sendChain(chain);
        return typeof name === "string" ? this.#lane.keys.run(name, send) : send();
      }),
    );
  }

  /** Waits until nothing is in flight; then throws the first unexpected error, so that the pack is delivered again. */
  async finished(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
    if (this.#errors.length > 0) throw this.#errors[0];
  }

  result(): ReplayResult {
    return {
      again: this.#again.sort(byIndex),
      delayMs: this.#delayMs,
      behind: this.#behind.sort(byIndex),
      dead: this.#dead,
      unsent: this.#unsent.sort(byIndex),
      overdue: this.#overdue,
      ...(this.#reason !== undefined && { reason: this.#reason }),
      ...(this.#laterMs !== undefined && { laterMs: this.#laterMs }),
      ...(this.#failure && { failure: this.#failure }),
      ...(this.#malformed && { malformed: this.#malformed }),
    };
  }

  async #sendChain(chain: readonly PackedRequest[]): Promise<void> {
    for (const [i, request] of chain.entries()) {
      const started = await this.#start(request);
      if (!started) {
        this.#unsent.push(...chain.slice(i));
        return;
      }
      const ended = await started.end;
      if (ended === "done") continue;
      // The requests behind a request of the same key wait as long as it does.
      (ended === "stopped" ? this.#unsent : this.#behind).push(...chain.slice(i + 1));
      return;
    }
  }

  /**
   * Waits for the due time of the request if it has one, for a permit and for a slot; then sends it without waiting for the
   * answer. Undefined if nothing may be sent.
   */
  async #start(request: PackedRequest): Promise<Started | undefined> {
    const { live, permits } = this.#lane;
    const { gate, onSettled, signal } = this.#options;
    if (signal.aborted) return undefined;
    // Before the gate: the job of a request may be paused for weeks.
    if (this.#isOverdue()) return this.#expire(request);
    const passage = gate ? await this.#awaitTime(request, gate) : "due";
    if (passage !== "due") return passage === "cancelled" ? { end: done } : undefined;
    if (whyUnreplayable(request) !== undefined || (live.config.truncated === "skip" && isBodyIncomplete(request))) {
      onSettled(request.index, "skipped");
      return { end: done };
    }
    const prepared = prepareOutbound(live.config, request, this.#pack.attempt + 1);
    if (prepared.kind === "unsendable") {
      this.#giveUp(request, prepared.reason);
      return { end: done };
    }
    resizeLane(this.#lane);
    try {
      if (!permits.tryAcquire()) await permits.acquire(signal);
    } catch {
      return undefined;
    }
    const admission = this.#isExpired(request) ? "wait" : await this.#waitForSlot();
    if (!admission) {
      permits.release();
      return undefined;
    }
    if (this.#isExpired(request)) {
      permits.release();
      return this.#expire(request);
    }
    const end = this.#send(request, prepared.request, admission).finally(() => permits.release());
    this.#own(end);
    return { end };
  }

  /** Undefined if the request of a job is not due yet and must not wait here. */
  async #awaitTime(request: PackedRequest, gate: JobGate): Promise<"due" | "cancelled" | undefined> {
    const { signal, patient, onSettled } = this.#options;
    try {
      const passage = await gate.pass(request, signal, patient);
      if (passage.kind === "later") {
        this.#laterMs ??= passage.delayMs;
        return undefined;
      }
      if (passage.kind === "cancelled") onSettled(request.index, "cancelled");
      return passage.kind;
    } catch (error) {
      if (!signal.aborted) this.#failure = error as Error;
      return undefined;
    }
  }

  /** Undefined if nothing may be sent now. */
  async #waitForSlot(): Promise<Admission | undefined> {
    const { signal, patient } = this.#options;
    try {
      return await waitForSlot(this.#lane, signal, patient);
    } catch (error) {
      // Rethrowing would lose the outcomes of the earlier requests, which would then be sent again.
      if (!signal.aborted) this.#failure = error as Error;
      return undefined;
    }
  }

  #expire(request: PackedRequest): Started {
    if (this.#isOverdue()) this.#overdue++;
    this.#options.onSettled(request.index, "expired");
    return { end: done };
  }

  #isOverdue(): boolean {
    return this.#options.isOverdue?.() ?? false;
  }

  #isExpired(request: PackedRequest): boolean {
    if (this.#isOverdue()) return true;
    const { maxAgeMs = Number.POSITIVE_INFINITY } = this.#lane.live.config;
    // In a job, whose requests were captured long ago, it counts from the due time.
    return (this.#options.gate?.lateMs(request) ?? this.#ageMs(request)) > maxAgeMs;
  }

  #ageMs(request: PackedRequest): number {
    const { ageMs, waitedMs } = this.#options;
    return ageMs?.(request) ?? Math.max(waitedMs?.() ?? 0, Date.now() - request.capturedAtMs);
  }

  async #send(request: PackedRequest, outbound: OutboundRequest, admission: Admission): Promise<Ended> {
    const { credentials } = this.#lane;
    if (!credentials) return this.#take(request, await this.#deliver(request, outbound, admission));
    for (let renewed = false; ; renewed = true) {
      const equipped = await credentials.equip(outbound, request);
      if (!equipped) return this.#leave(request);
      if (equipped.kind === "unsendable") return this.#giveUp(request, equipped.reason);
      const outcome = await this.#deliver(request, equipped.request, admission);
      if (equipped.anonymous && outcome.kind === "answered") this.#lane.figures.count("answered.anonymous");
      const refused = outcome.kind === "answered" && outcome.status === 401;
      // At most once: if the shadow also refuses the new token, its 401 is the answer.
      if (!refused || renewed || !credentials.refuse(equipped)) return this.#take(request, outcome);
      const next = await this.#waitForSlot();
      if (!next) return this.#leave(request);
      admission = next;
    }
  }

  async #deliver(request: PackedRequest, outbound: OutboundRequest, admission: Admission): Promise<Outcome> {
    const { transport, live, figures } = this.#lane;
    const ageMs = this.#ageMs(request);
    const outcome = await transport.send(outbound);
    if (outcome.kind === "answered" || outcome.kind === "malformed") figures.countAnswer(ageMs, outcome.times);
    else if (outcome.kind !== "unsendable" && outcome.kind !== "stopped") figures.count(outcome.kind);
    // Requests do not wait for this write, but the pack does: Lambda may freeze the process as soon as the pack is done.
    this.#own(live.note(outcome, admission));
    return outcome;
  }

  #take(request: PackedRequest, outcome: Outcome): Ended {
    if (outcome.kind === "answered") {
      const { figures, live } = this.#lane;
      const denied = outcome.status === 401 || outcome.status === 403;
      if (denied && sendsCapturedCredentials(live.config, request)) figures.count("answered.expired");
      this.#options.onSettled(request.index, answeredFate(outcome.status));
      return "done";
    }
    if (outcome.kind === "malformed") {
      this.#malformed ??= { method: request.method, path: request.path, reason: outcome.reason };
      this.#options.onSettled(request.index, "answered.malformed");
      return "done";
    }
    if (outcome.kind === "unsendable") return this.#giveUp(request, outcome.reason);
    if (mayHaveActed(outcome) && !isIdempotent(request.method)) {
      const reason = `${outcome.reason}; ${request.method} is not retried, because the shadow may have acted on it`;
      return this.#giveUp(request, reason);
    }
    if (outcome.kind === "stopped") return this.#leave(request);
    if (this.#pack.attempt + 1 >= this.#lane.live.config.attempts) {
      return this.#giveUp(request, `${outcome.reason} (attempt ${this.#pack.attempt + 1})`);
    }
    if (outcome.kind === "undelivered" && outcome.retryAfterMs !== undefined) {
      this.#delayMs = Math.max(this.#delayMs, outcome.retryAfterMs);
    }
    return this.#tryAgain(request, outcome.reason);
  }

  /** Makes `finished` wait for this work. */
  #own(work: Promise<unknown>): void {
    const owned = work
      .catch((error: unknown) => {
        this.#errors.push(error);
      })
      .then(() => {
        this.#inFlight.delete(owned);
      });
    this.#inFlight.add(owned);
  }

  #leave(request: PackedRequest): "stopped" {
    this.#unsent.push(request);
    return "stopped";
  }

  #tryAgain(request: PackedRequest, reason: string): "again" {
    this.#again.push(request);
    this.#reason ??= reason;
    return "again";
  }

  #giveUp(request: PackedRequest, reason: string): "done" {
    const others = this.#dead.get(reason);
    if (others) others.push(request);
    else this.#dead.set(reason, [request]);
    return "done";
  }
}

const done = Promise.resolve("done" as const);

function byIndex(a: PackedRequest, b: PackedRequest): number {
  return a.index - b.index;
}
