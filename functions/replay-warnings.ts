import { type Logger, Throttle } from "../relay/log/log.ts";
import type { MessagePack } from "../relay/queue/message.ts";
import { requestAgeMs } from "../relay/queue/request-age.ts";
import type { ReplayResult } from "../relay/replay/replay-result.ts";
import { agentOf } from "../relay/state/ended-runs.ts";

// Clocks that a time service keeps differ by far less.
const leastSkewMs = 60_000;
// Somebody who may send like an agent can invent names, and times. Two machines may also have the same name.
const mostAgents = 1_000;
const mostReports = 10;

/** Logs what was unusual about a target's requests, each kind at most once a minute. */
export class ReplayWarnings {
  readonly #target: string;
  readonly #log: Logger;
  readonly #malformed = new Throttle();
  readonly #overdue = new Throttle();
  /** The agents whose clocks were wrong. */
  readonly #skewed = new Map<string, { wrong: boolean; reports: number }>();

  constructor(target: string, log: Logger) {
    this.#target = target;
    this.#log = log;
  }

  note({ malformed, overdue }: ReplayResult): void {
    if (malformed) this.#warnOfMalformed(malformed);
    if (overdue > 0) this.#warnOfOverdue(overdue);
  }

  /**
   * Logs for each agent that its clock and that of this machine differ, and again after it was right, ten times at most: times of
   * capture are by the clock of the agent.
   *
   * @param nowMs by the clock of the queue that the pack is from
   */
  noteClock(pack: MessagePack, nowMs: number): void {
    const [request] = pack.requests;
    const ageMs = request && requestAgeMs(pack, request, nowMs);
    // Of packs that waited for longer, the queue may not know it: it counts an hour at most while its machine is off.
    if (ageMs === undefined || ageMs > leastSkewMs) return;
    const agent = agentOf(pack.agent);
    const skewMs = Math.round(request.capturedAtMs + ageMs - Date.now());
    const wrong = Math.abs(skewMs) >= leastSkewMs;
    const before = this.#skewed.get(agent) ?? { wrong: false, reports: 0 };
    if (before.wrong === wrong || (before.reports === 0 && this.#skewed.size >= mostAgents)) return;
    this.#skewed.set(agent, { wrong, reports: before.reports + (wrong ? 1 : 0) });
    if (wrong && before.reports < mostReports) {
      this.#log.warn(
        { event: "agent-clock", target: this.#target, agent, skewMs },
        "the clock of an agent differs from that of this machine by skewMs: times of capture are wrong if the agent's is; maxAge does not depend on it",
      );
    }
  }

  #warnOfMalformed({ method, path, reason }: NonNullable<ReplayResult["malformed"]>): void {
    const about = { target: this.#target, method, path: path.split("?", 1)[0], reason };
    this.#malformed.run(performance.now(), (heldBack) =>
      this.#log.warn(
        { event: "malformed-answer", ...about, heldBack },
        "the shadow answered with bytes that are not HTTP: counted as answered, not sent again",
      ),
    );
  }

  #warnOfOverdue(requests: number): void {
    this.#overdue.run(performance.now(), (heldBack) =>
      this.#log.warn(
        { event: "overdue", target: this.#target, requests, heldBack },
        "requests have waited for longer than the target's queue keeps them: they have expired",
      ),
    );
  }
}
