import type { TargetConfig } from "./config.ts";
import { isBodyIncomplete, type OutboundRequest, prepareOutbound } from "./outbound.ts";
import { isIdempotent, type Outcome } from "./outcome.ts";
import type { Pacer } from "./pacer.ts";
import type { Pack, PackedRequest } from "./pack.ts";
import { Semaphore } from "./semaphore.ts";
import type { Fate } from "./state/port.ts";
import type { Transport } from "./transport.ts";

/** What a process keeps for one target, whatever number of packs it works on. */
export interface Lane {
  readonly target: TargetConfig;
  readonly transport: Transport;
  /** Undefined where the rate is unlimited. */
  readonly pacer: Pacer | undefined;
  /** Requests under way. */
  readonly permits: Semaphore;
  /** One pack after the other gives out its requests, so that they leave in the order of their capture. */
  readonly turn: Semaphore;
}

export function createLane(target: TargetConfig, transport: Transport, pacer: Pacer | undefined): Lane {
  return { target, transport, pacer, permits: new Semaphore(target.concurrency), turn: new Semaphore(1) };
}

/** What became of a pack's requests beyond those that `onSettled` was told. */
export interface ReplayResult {
  /** Not delivered: to be tried again after `delayMs`. */
  readonly again: readonly PackedRequest[];
  readonly delayMs: number;
  /** Why the first of them was not delivered. */
  readonly reason?: string;
  /** Never to be delivered, by reason. */
  readonly dead: ReadonlyMap<string, readonly PackedRequest[]>;
  /** Without an outcome, because the signal was raised, the transport closed, or no slots could be leased. */
  readonly unsent: readonly PackedRequest[];
  /** Why no slots could be leased. */
  readonly failure?: Error;
}

const firstRetryMs = 1_000;
const maxRetryMs = 60_000;

/**
 * Sends the given requests of a pack to the lane's target, each at its slot, and waits until all are answered or have
 * failed. The signal keeps requests from being sent; what is under way ends when the transport is closed.
 */
export async function replayPack(
  lane: Lane,
  pack: Pack,
  requests: readonly PackedRequest[],
  onSettled: (index: number, fate: Fate) => void,
  signal: AbortSignal,
): Promise<ReplayResult> {
  const replay = new PackReplay(lane, pack, onSettled);
  let sent = 0;
  try {
    await lane.turn.acquire(signal);
  } catch {
    return { ...replay.result(), unsent: requests };
  }
  try {
    for (; sent < requests.length && !signal.aborted; sent++) {
      if (!(await replay.start(requests[sent], signal))) break;
    }
  } finally {
    lane.turn.release();
    await replay.finished();
  }
  return { ...replay.result(), unsent: [...replay.stopped(), ...requests.slice(sent)] };
}

class PackReplay {
  readonly #lane: Lane;
  readonly #pack: Pack;
  readonly #onSettled: (index: number, fate: Fate) => void;
  readonly #underWay = new Set<Promise<void>>();
  readonly #again: PackedRequest[] = [];
  readonly #stopped: PackedRequest[] = [];
  readonly #dead = new Map<string, PackedRequest[]>();
  #delayMs: number;
  #reason: string | undefined;
  #failure: Error | undefined;

  constructor(lane: Lane, pack: Pack, onSettled: (index: number, fate: Fate) => void) {
    this.#lane = lane;
    this.#pack = pack;
    this.#onSettled = onSettled;
    this.#delayMs = Math.min(firstRetryMs * 2 ** Math.min(pack.attempt, 20), maxRetryMs);
  }

  /** Waits for a permit and a slot, then sends without waiting for the answer; false when there is no slot to be had. */
  async start(request: PackedRequest, signal: AbortSignal): Promise<boolean> {
    const { target, pacer, permits } = this.#lane;
    if (target.truncated === "skip" && isBodyIncomplete(request)) {
      this.#onSettled(request.index, "skipped");
      return true;
    }
    const prepared = prepareOutbound(target, request, this.#pack.attempt + 1);
    if (prepared.kind === "unsendable") {
      this.#bury(request, prepared.reason);
      return true;
    }
    try {
      await permits.acquire(signal);
    } catch {
      return false;
    }
    try {
      if (!this.#expire(request)) await pacer?.acquire(signal);
    } catch (error) {
      permits.release();
      // Not thrown on: what came of the requests before would be lost, and they would be sent again.
      if (!signal.aborted) this.#failure = error as Error;
      return false;
    }
    if (this.#expire(request)) {
      permits.release();
      this.#onSettled(request.index, "expired");
      return true;
    }
    const exchange = this.#send(request, prepared.request).finally(() => {
      permits.release();
      this.#underWay.delete(exchange);
    });
    this.#underWay.add(exchange);
    return true;
  }

  async finished(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** Requests that were under way when the transport was closed, and may be sent again. */
  stopped(): readonly PackedRequest[] {
    return this.#stopped.sort((a, b) => a.index - b.index);
  }

  result(): Omit<ReplayResult, "unsent"> {
    return {
      again: this.#again.sort((a, b) => a.index - b.index),
      delayMs: this.#delayMs,
      dead: this.#dead,
      ...(this.#reason !== undefined && { reason: this.#reason }),
      ...(this.#failure && { failure: this.#failure }),
    };
  }

  #expire(request: PackedRequest): boolean {
    const { maxAgeMs } = this.#lane.target;
    return maxAgeMs !== undefined && Date.now() - request.capturedAtMs > maxAgeMs;
  }

  async #send(request: PackedRequest, outbound: OutboundRequest): Promise<void> {
    const outcome = await this.#lane.transport.send(outbound);
    this.#take(request, outcome);
  }

  #take(request: PackedRequest, outcome: Outcome): void {
    if (outcome.kind === "answered") {
      this.#onSettled(request.index, answeredFate(outcome.status));
    } else if (outcome.kind === "unsendable") {
      this.#bury(request, outcome.reason);
    } else if (mayHaveActed(outcome) && !isIdempotent(request.method)) {
      this.#bury(
        request,
        `${outcome.reason}; ${request.method} is not repeated, since the shadow may have acted on it`,
      );
    } else if (outcome.kind === "stopped") {
      this.#stopped.push(request);
    } else if (this.#pack.attempt + 1 >= this.#lane.target.attempts) {
      this.#bury(request, `${outcome.reason} (attempt ${this.#pack.attempt + 1})`);
    } else {
      this.#again.push(request);
      this.#reason ??= outcome.reason;
      if (outcome.kind === "undelivered" && outcome.retryAfterMs !== undefined) {
        this.#delayMs = Math.max(this.#delayMs, outcome.retryAfterMs);
      }
    }
  }

  #bury(request: PackedRequest, reason: string): void {
    const others = this.#dead.get(reason);
    if (others) others.push(request);
    else this.#dead.set(reason, [request]);
  }
}

function mayHaveActed(outcome: Outcome): boolean {
  return outcome.kind === "timedOut" || (outcome.kind === "stopped" && outcome.sent);
}

function answeredFate(status: number): Fate {
  // 100 to 599 are all that HTTP defines; what lies above is an error of the shadow, like 5xx.
  const classes = ["answered.1xx", "answered.2xx", "answered.3xx", "answered.4xx"] as const;
  return classes[Math.floor(status / 100) - 1] ?? "answered.5xx";
}
