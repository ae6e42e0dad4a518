import type { SettledStats } from "./host-stats.ts";

/** What the ledger says is in the queues of a target. */
export interface Claims {
  /** Requests without a fate, and the packs that they are in. */
  readonly waiting: number;
  readonly waitingPacks: number;
  /** Requests with the fate `deadLettered`, and the dead letters that hold them. */
  readonly dead: number;
  readonly letters: number;
}

/** What really is in the queues. Requests are undefined in SQS, which counts only messages. */
export type Contents = Pick<
  SettledStats,
  "messages" | "inQueue" | "deadMessages" | "inDeadLetters" | "expiredDeadLetters" | "problem"
>;

/** What the queues lack. */
export interface Shortfall {
  /** Requests; messages if the queues are in SQS and some are left. */
  readonly unaccounted: number;
  /** Waiting requests that are in the queue, or may be. */
  readonly waiting: number;
  /** What waits according to the ledger, and is among the dead letters: undecodable packs, and packs that the queue gave up. */
  readonly amongDead: number;
  /** Which queue lacks how many. */
  readonly lacking: readonly string[];
  /** What was compared in messages only, because SQS does not count the requests in them. */
  readonly unproven: readonly string[];
  /** What the queues have in addition. */
  readonly spare: Contents;
}

/**
 * Compares the ledger with the queues. A queue never has less than the ledger says, not even while requests move or after a
 * crash: a copy is stored before the ledger counts it, and deleted after the ledger counts what became of it. More is no loss:
 * a pack stays in its queue until its last request is done, and a crash may leave a second copy of a dead letter.
 */
export function findShortfall(claims: Claims, contents: Contents): Shortfall {
  const { messages = 0, inQueue, deadMessages = 0, inDeadLetters, expiredDeadLetters = 0, problem } = contents;
  const dead =
    inDeadLetters === undefined
      ? compare("messages", claims.letters, contents.deadMessages ?? claims.letters)
      : compare("requests", claims.dead, inDeadLetters + expiredDeadLetters);
  const waitingPacks = claims.waiting > 0 ? Math.max(1, claims.waitingPacks) : 0;
  const queued =
    inQueue === undefined ? compare("messages", waitingPacks, messages) : compare("requests", claims.waiting, inQueue);
  const amongDead = Math.min(queued.lacks, dead.spare);
  const lacks = queued.lacks - amongDead;
  // If SQS has no message at all, none of the requests is there.
  const allLost = inQueue === undefined && messages === 0 && amongDead === 0;
  const lost = allLost ? claims.waiting : lacks;
  const inRequests = inQueue !== undefined || allLost;
  return {
    unaccounted: dead.lacks + lost,
    waiting: claims.waiting - (inRequests ? lost + amongDead : 0),
    amongDead: inRequests ? amongDead : 0,
    lacking: [
      ...(dead.lacks > 0 ? [`the dead-letter queue lacks ${dead.lacks} of ${dead.claimed} ${dead.unit}`] : []),
      ...(lost > 0 ? [problem ?? `the queue lacks ${lacks} of ${queued.claimed} ${queued.unit} that wait`] : []),
    ],
    unproven: [
      ...(waitingPacks > 0 && inQueue === undefined
        ? [
            `${plural(waitingPacks, "pack")} ${waitingPacks === 1 ? "waits" : "wait"}, the queue has ${plural(messages, "message")}`,
          ]
        : []),
      ...(claims.dead > 0 && inDeadLetters === undefined
        ? [
            `the ledger has ${plural(claims.letters, "dead letter")}, the dead-letter queue ${contents.deadMessages ?? "does not answer"}`,
          ]
        : []),
    ],
    spare: {
      ...contents,
      messages: queued.unit === "messages" ? queued.spare : messages,
      ...(inQueue !== undefined && { inQueue: queued.spare }),
      deadMessages: dead.unit === "messages" ? dead.spare - amongDead : deadMessages,
      ...(inDeadLetters !== undefined && { inDeadLetters: dead.spare - amongDead }),
      expiredDeadLetters: 0,
    },
  };
}

/** The sum of several queues; in messages if one of them does not count requests. */
export function sumContents(queues: readonly Contents[]): Contents {
  const sum = (name: "messages" | "inQueue" | "deadMessages" | "inDeadLetters" | "expiredDeadLetters") =>
    queues.reduce((total, queue) => total + (queue[name] ?? 0), 0);
  const problem = queues.find((queue) => queue.problem !== undefined)?.problem;
  return {
    messages: sum("messages"),
    ...(queues.every(({ inQueue }) => inQueue !== undefined) && { inQueue: sum("inQueue") }),
    // A queue that does not answer may have any number.
    ...(queues.every(({ deadMessages }) => deadMessages !== undefined) && { deadMessages: sum("deadMessages") }),
    ...(queues.every(({ inDeadLetters }) => inDeadLetters !== undefined) && { inDeadLetters: sum("inDeadLetters") }),
    expiredDeadLetters: sum("expiredDeadLetters"),
    ...(problem !== undefined && { problem }),
  };
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

function compare(unit: "requests" | "messages", claimed: number, found: number) {
  return { unit, claimed, lacks: Math.max(0, claimed - found), spare: Math.max(0, found - claimed) };
}
