import type { PrimaryOutcome } from "../../pack/captured-request.ts";
import { findHeaderFlaw } from "../../pack/header-block.ts";
import { hostOf, maxCapturedAtMs, memoryBytes, type ReadItem } from "../imported.ts";
import { upgradeReason } from "../repeatable.ts";

/** A record of the primary's response. */
export interface AnswerRecord {
  readonly id: string;
  readonly atMs: number;
  /** Undefined if GoReplay did not measure it. */
  readonly latencyMs: number | undefined;
  /** Undefined if the record is damaged. */
  readonly status?: number;
  readonly headers?: readonly string[];
}

interface Waiting {
  readonly item: ReadItem;
  readonly id: string;
  readonly bytes: number;
  answered: boolean;
  /** The item with its answer. */
  withAnswer?: ReadItem;
  /** Whether the answer may be that of a later request. */
  doubtful: boolean;
}

/** The requests of an id, oldest first. */
interface Connection {
  readonly unanswered: Waiting[];
  /** Answered ones that still wait, whose answers count once no answer is missing. */
  readonly doubtful: Set<Waiting>;
}

// A response follows its request, with other records in between. At most this many requests, and bytes of them, are held
// until their responses are read. Requests are released in groups.
const maxWaiting = 1_000;
const maxReleased = 250;
const maxWaitingBytes = 16 * 1024 * 1024;

/**
 * Holds requests until their answers are read. GoReplay 1.2 gives all requests of a connection the same id: their
 * answers come in the order of the requests (RFC 9112 9.3.2). If the file lacks an answer, it could belong to any of the
 * requests that then wait, so the answers that come while others are missing count only once none is missing.
 */
export class AnswerBook {
  #waiting: Waiting[] = [];
  readonly #connections = new Map<string, Connection>();
  #waitingBytes = 0;

  /** Adds the item that was read from a request's record. One that is no request takes its answer out of the order. */
  addRequest(id: string, item: ReadItem): void {
    const bytes = item.kind === "request" ? memoryBytes(item.request) : 0;
    const entry = { item, id, bytes, answered: false, doubtful: false };
    this.#waiting.push(entry);
    this.#waitingBytes += entry.bytes;
    const connection = this.#connections.get(id);
    if (connection) connection.unanswered.push(entry);
    else this.#connections.set(id, { unanswered: [entry], doubtful: new Set() });
  }

  /** Adds the answer to the oldest request of its id that has none. */
  addAnswer(answer: AnswerRecord): void {
    const connection = this.#connections.get(answer.id);
    if (!connection) return;
    const [entry, next] = connection.unanswered;
    entry.withAnswer = withAnswer(entry.item, answer);
    if (next && !isBefore(answer, next.item)) {
      entry.doubtful = true;
      connection.doubtful.add(entry);
    }
    if (!next) for (const doubtful of connection.doubtful) doubtful.doubtful = false;
    this.#settle(entry);
  }

  /** Returns the items that no longer wait; all of them at the end of the file. */
  take({ atEnd = false } = {}): readonly ReadItem[] {
    let count = atEnd ? this.#waiting.length : 0;
    let bytes = this.#waitingBytes;
    const isFull = this.#waiting.length >= maxWaiting + maxReleased;
    for (; (isFull && count < maxReleased) || bytes > maxWaitingBytes; count++) {
      bytes -= this.#waiting[count].bytes;
    }
    if (count === 0) return [];
    const taken = this.#waiting.splice(0, count);
    this.#waitingBytes = atEnd ? 0 : bytes;
    for (const entry of taken) {
      this.#connections.get(entry.id)?.doubtful.delete(entry);
      this.#settle(entry);
    }
    return taken.map(({ item, withAnswer = item, doubtful }) => (doubtful ? item : withAnswer));
  }

  /** Takes the oldest request of its id out of the order. */
  #settle(entry: Waiting): void {
    if (entry.answered) return;
    entry.answered = true;
    const { unanswered } = this.#connections.get(entry.id) ?? { unanswered: [] };
    unanswered.shift();
    if (unanswered.length === 0) this.#connections.delete(entry.id);
  }
}

function withAnswer(item: ReadItem, answer: AnswerRecord): ReadItem {
  if (item.kind !== "request" || answer.status === undefined) return item;
  const { request } = item;
  if (answer.status === 101) return { kind: "leftOut", reason: upgradeReason, host: hostOf(request) };
  return { kind: "request", request: { ...request, primary: toOutcome(answer, request.capturedAtMs) } };
}

/** Whether the answer came before this request was sent. */
function isBefore({ atMs }: AnswerRecord, item: ReadItem): boolean {
  return item.kind === "request" && atMs < item.request.capturedAtMs;
}

function toOutcome({ status, atMs, latencyMs, headers }: AnswerRecord, capturedAtMs: number): PrimaryOutcome {
  const sinceMs = atMs > capturedAtMs ? atMs - capturedAtMs : undefined;
  // Since GoReplay 1.2 the latency is only the time from the first to the last byte of the response.
  // Both times are cut to milliseconds, so their difference can be 1 more.
  const timeMs = latencyMs === undefined || (sinceMs ?? 0) > latencyMs + 1 ? sinceMs : latencyMs;
  return {
    ...(status !== undefined && { status }),
    // The time of a damaged record may be any number.
    ...(timeMs !== undefined && timeMs <= maxCapturedAtMs && { timeMs }),
    ...(headers && headers.length > 0 && findHeaderFlaw(headers) === undefined && { headers }),
  };
}
