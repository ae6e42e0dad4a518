import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { Journal, JournalError, type Ticket } from "./journal.ts";
import type { FromWorker, JournalPlace } from "./messages.ts";

export interface JournalKeeperOptions {
  /** Name and run of the agent. */
  readonly run: string;
  readonly place: JournalPlace;
  readonly post: (message: FromWorker) => void;
}

const retryMs = 5_000;

/**
 * A journal that may fail. While it fails, packs are sent without it, and it is retried every 5 s. A failure is
 * reported once. No method throws `JournalError`.
 */
export class JournalKeeper {
  readonly #options: JournalKeeperOptions;
  #journal: Journal | undefined;
  #problem: string | undefined;
  #nextTryMs = 0;

  constructor(options: JournalKeeperOptions) {
    this.#options = options;
    this.#open();
  }

  /** Packs that are only on disk. */
  get waiting(): number {
    return this.#journal?.waiting ?? 0;
  }

  /** Writes a pack. Without a ticket it is in memory only; `lost` is true if a full journal gave it up. */
  write(message: OutgoingMessage): { readonly lost: boolean; readonly ticket: Ticket | undefined } {
    if (this.#problem !== undefined && performance.now() < this.#nextTryMs) return { lost: false, ticket: undefined };
    if (!this.#journal) this.#open();
    let lost = false;
    const ticket = this.#attempt((journal) => {
      const appended = journal.append(message);
      lost = appended === undefined;
      return appended;
    });
    if (ticket && this.#problem !== undefined && this.#journal?.syncs) {
      this.#problem = undefined;
      this.#options.post({ kind: "journalUp" });
    }
    return { lost, ticket };
  }

  /** See `Journal.release`. */
  release(ticket: Ticket): boolean {
    return this.#journal?.release(ticket) === true;
  }

  /** See `Journal.take`. */
  take(): ReturnType<Journal["take"]> {
    return this.#attempt((journal) => journal.take());
  }

  /** See `Journal.done`. */
  done(ticket: Ticket): void {
    this.#attempt((journal) => journal.done(ticket));
  }

  /** See `Journal.keeps`. */
  keeps(ticket: Ticket): boolean {
    return this.#journal?.keeps(ticket) === true;
  }

  /** See `Journal.isRecovered`. */
  isRecovered(ticket: Ticket): boolean {
    return this.#journal?.isRecovered(ticket) === true;
  }

  /** Reports the size of the journal to the main thread. */
  report(): void {
    if (!this.#journal) return;
    this.#options.post({ kind: "journal", bytes: this.#journal.bytes, packs: this.#journal.waiting });
  }

  close(): void {
    this.#journal?.close();
  }

  #open(): void {
    const { run, place, post } = this.#options;
    try {
      this.#journal = Journal.open({
        ...place,
        run,
        onExposed: (requests) => post({ kind: "exposed", requests }),
        onUnsynced: (reason) => this.#tell(reason),
        onLost: (reason, requests, recovered) =>
          post({ kind: "dropped", reason, requests, volatileRequests: 0, heldBytes: 0, recovered }),
      });
    } catch (error) {
      this.#failed(error);
      return;
    }
    const { recovery } = this.#journal;
    if (recovery.packs > 0 || recovery.damaged > 0) post({ kind: "recovered", ...recovery });
  }

  #attempt<T>(work: (journal: Journal) => T): T | undefined {
    if (!this.#journal) return undefined;
    try {
      return work(this.#journal);
    } catch (error) {
      this.#failed(error);
      return undefined;
    }
  }

  #failed(error: unknown): void {
    if (!(error instanceof JournalError)) throw error;
    this.#tell(error.message);
    this.#nextTryMs = performance.now() + retryMs;
  }

  #tell(reason: string): void {
    if (this.#problem === undefined) this.#options.post({ kind: "journalDown", message: reason });
    this.#problem = reason;
  }
}
