import type { PrimaryOutcome } from "../../pack/captured-request.ts";
import { hostOf, type ReadItem } from "../imported.ts";
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
  item: ReadItem;
  readonly id: string;
  readonly bytes: number;
  answered: boolean;
}

// A response follows its request, with other records in between. At most this many requests, and bytes of their bodies,
// are held until their responses are read. Requests are released in groups.
const maxWaiting = 1_000;
const maxReleased = 250;
const maxWaitingBytes = 16 * 1024 * 1024;

/**
 * Holds requests until their answers are read. GoReplay 1.2 gives all requests of a connection the same id: their
 * answers come in the order of the requests (RFC 9112 9.3.2).
 */
export class AnswerBook {
  #waiting: Waiting[] = [];
  /** By id: the requests that have no answer yet, oldest first. */
  readonly #unanswered = new Map<string, Waiting[]>();
  #waitingBytes = 0;

  /** Adds the item that was read from a request's record. One that is no request takes its answer out of the order. */
  addRequest(id: string, item: ReadItem): void {
    const entry = { item, id, bytes: item.kind === "request" ? item.request.body.length : 0, answered: false };
    this.#waiting.push(entry);
    this.#waitingBytes += entry.bytes;
    const sameId = this.#unanswered.get(id);
    if (sameId) sameId.push(entry);
    else this.#unanswered.set(id, [entry]);
  }

  /** Adds the answer to the oldest request of its id that has none. */
  addAnswer(answer: AnswerRecord): void {
    const entry = this.#unanswered.get(answer.id)?.[0];
    if (!entry) return;
    this.#settle(entry);
    const { item } = entry;
    if (item.kind !== "request" || answer.status === undefined) return;
    const { request } = item;
    if (answer.status === 101) entry.item = { kind: "leftOut", reason: upgradeReason, host: hostOf(request) };
    else entry.item = { kind: "request", request: { ...request, primary: toOutcome(answer, request.capturedAtMs) } };
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
    for (const entry of taken) this.#settle(entry);
    return taken.map(({ item }) => item);
  }

  /** Takes the oldest request of its id out of the order. */
  #settle(entry: Waiting): void {
    if (entry.answered) return;
    entry.answered = true;
    const sameId = this.#unanswered.get(entry.id);
    sameId?.shift();
    if (sameId?.length === 0) this.#unanswered.delete(entry.id);
  }
}

function toOutcome({ status, atMs, latencyMs, headers }: AnswerRecord, capturedAtMs: number): PrimaryOutcome {
  const sinceMs = atMs > capturedAtMs ? atMs - capturedAtMs : undefined;
  const timeMs = latencyMs ?? sinceMs;
  return {
    ...(status !== undefined && { status }),
    ...(timeMs !== undefined && { timeMs }),
    ...(headers && headers.length > 0 && { headers }),
  };
}
