import type { Amount } from "../control/answers.ts";
import type { HostStats, SettledStats } from "./host-stats.ts";

/** A target whose requests will be lost if nobody acts. */
export interface Warning {
  /** The target that is no longer in the configuration. */
  readonly target: string;
  readonly waiting: Amount;
  readonly deadLetters: Amount;
  /** What is wrong, and what to do. */
  readonly detail: string;
}

/** A warning for each target that is no longer in the configuration, but has requests that nobody delivers. */
export function warningsOf({ targets, removed = {} }: HostStats): readonly Warning[] {
  // A target that was renamed looks like one that is gone and one without a history.
  const fresh = Object.entries(targets).filter(([, { enqueued, messages }]) => enqueued === 0 && messages === 0);
  const to = fresh.length === 1 ? fresh[0][0] : "TARGET";
  return Object.entries(removed).map(([target, stats]) => {
    const waiting = toAmount(stats.messages, stats.inQueue);
    const deadLetters = toAmount(stats.deadMessages, stats.inDeadLetters);
    const gone = `target ${target} is no longer in the configuration`;
    return { target, waiting, deadLetters, detail: `${gone}: ${explain(target, stats, to)}` };
  });
}

/** Whether requests of the target wait, or may wait in a queue that does not answer. */
export function isWaiting({ waiting }: Warning): boolean {
  return waiting.messages !== 0;
}

/** Whether anything is left in the queue or its dead letters, or may be left in a queue that does not answer. */
export function hasMessages({ waiting, deadLetters }: Warning): boolean {
  return waiting.messages !== 0 || deadLetters.messages !== 0;
}

/** Packs, and the requests in them as far as the queue counts requests. */
export function toAmount(messages: number | undefined, requests: number | undefined): Amount {
  return { ...(messages !== undefined && { messages }), ...(requests !== undefined && { requests }) };
}

function explain(target: string, stats: SettledStats, to: string): string {
  const { messages = 0, inQueue, deadMessages = 0, inDeadLetters, problem } = stats;
  if (problem !== undefined) return `its requests cannot be counted: ${problem}`;
  if (messages + deadMessages === 0) return "its queue is gone or empty, and lacks requests of the ledger";
  // SQS counts packs, not requests.
  const [waiting, dead, unit] =
    inQueue === undefined ? [messages, deadMessages, "packs "] : [inQueue, inDeadLetters, ""];
  return [
    `nobody delivers its requests (${unit}waiting: ${waiting}, dead letters: ${dead}), and the queue's retention removes them;`,
    `send them to another target: spoa-relay dlq redrive ${target} --to ${to},`,
    `or discard them: spoa-relay dlq discard ${target}`,
  ].join(" ");
}
