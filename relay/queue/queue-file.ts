import { type MachineClock, machineClock, simulatedMachine } from "../process/machine-clock.ts";
import { SqliteFile } from "../sqlite.ts";
import { queueFile } from "./names.ts";
import { QueueError } from "./port.ts";

export interface QueueFileOptions {
  /** Created if it is missing, readable by its owner only. */
  readonly directory: string;
  /** A name as SQS allows it: up to 80 letters, digits, `-` and `_`. */
  readonly name: string;
  /** Default 4 days. Older messages are removed, even if never received. A dead letter ages from when it was given up. */
  readonly retentionMs?: number;
  /** For tests and simulations: stands for both clocks of the machine, in milliseconds since 1970. */
  readonly now?: () => number;
  /** Default: that of this machine. */
  readonly machine?: MachineClock;
}

/** A message belongs to the lane of the queue itself or to that of its dead letters. */
export const mainLane = 0;
export const deadLane = 1;

export interface MessageRow {
  readonly id: number;
  readonly requests: number;
  /** By the wall clock: for people. */
  readonly sentAtMs: number;
  /** By the clock of the file, like all times but `sentAtMs`. */
  readonly enteredAtMs: number;
  readonly receives: number;
  readonly reason: string | null;
  readonly body: string;
  readonly pack: Uint8Array;
}

const fourDaysMs = 345_600_000;
// 16 KiB pages: a pack of 64 KB is a chain of 5 pages instead of 16, which makes sending and deleting twice as fast.
const pageBytes = 16_384;
// This many free pages are kept for the next messages: shrinking the file and growing it again would cost more.
const keptFreePages = 256;
const keptFreeShare = 0.5;

/** The open file of a queue: its statements, and the receivers that wait for a change. */
export class QueueFile {
  readonly retentionMs: number;
  readonly #machine: MachineClock;
  readonly #file: SqliteFile<keyof typeof sql>;
  readonly #waiting = new Set<() => void>();

  constructor({ directory, name, retentionMs = fourDaysMs, now, machine }: QueueFileOptions) {
    if (!/^[\w-]{1,80}$/.test(name)) {
      throw new QueueError(
        "BAD_ARGUMENT",
        `queue name "${name}" is not valid: use 1 to 80 letters, digits, "-" and "_"`,
      );
    }
    this.retentionMs = retentionMs;
    this.#machine = machine ?? (now ? simulatedMachine(now) : machineClock);
    this.#file = new SqliteFile({
      machine: this.#machine,
      directory,
      file: queueFile(name),
      pragmas: `PRAGMA page_size = ${pageBytes}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA wal_autocheckpoint = 256`,
      schema,
      sql,
      toError: (message, options) => new QueueError("UNAVAILABLE", `queue ${name}: ${message}`, options),
    });
  }

  get statements(): Statements {
    return this.#file.statements;
  }

  get closed(): boolean {
    return this.#file.closed;
  }

  /** By the clock of the file. */
  nowMs(): number {
    return this.#file.nowMs();
  }

  /** By the wall clock. */
  wallMs(): number {
    return Math.floor(this.#machine.wallMs());
  }

  read<T>(look: (statements: Statements, nowMs: number) => T): T {
    return this.#file.guard(() => look(this.statements, this.nowMs()));
  }

  transaction(work: (nowMs: number) => void): void {
    this.#file.transaction(() => work(this.nowMs()));
  }

  /** Removes some of the messages that are too old. Call it within a transaction. */
  expire(lane: number, nowMs: number): void {
    const removed = this.statements.expire.all(lane, nowMs - this.retentionMs);
    if (removed.length === 0) return;
    const requests = removed.reduce((sum, row) => sum + Number(row.requests), 0);
    this.statements.noteExpired.run(removed.length, requests, lane);
  }

  /** For idle moments: returns about 1.5 MiB of free pages to the disk if there are many. The file shrinks at the next checkpoint. */
  giveBackSpace(): void {
    this.#file.noteTime();
    this.#file.guard(() => {
      const { freePages, allPages, vacuum, checkpoint } = this.statements;
      const free = Number(freePages.get()?.freelist_count);
      if (free <= keptFreePages || free < Number(allPages.get()?.page_count) * keptFreeShare) return;
      vacuum.all();
      if (free <= 2 * keptFreePages) checkpoint.get();
    });
  }

  /** Resolves at a change made through this object, when the signal is aborted, or after `ms` at the latest. */
  change(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
      this.#waiting.add(done);
    });
  }

  wake(): void {
    for (const done of this.#waiting) done();
  }

  close(): void {
    this.#file.close();
    this.wake();
  }
}

// `hidden_until_ms` is NULL once a message can be received. So an index holds only the ready messages, in the order of
// sending, and receiving stays fast even if the queue is full of delayed messages or messages in flight.
const schema = `
CREATE TABLE IF NOT EXISTS lane (
  lane INTEGER PRIMARY KEY,
  messages INTEGER NOT NULL DEFAULT 0,
  requests INTEGER NOT NULL DEFAULT 0,
  expired_messages INTEGER NOT NULL DEFAULT 0,
  expired_requests INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT OR IGNORE INTO lane (lane) VALUES (${mainLane}), (${deadLane});

-- AUTOINCREMENT: ids are never reused; otherwise old receipts would match new messages.
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lane INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  sent_at_ms INTEGER NOT NULL,
  entered_at_ms INTEGER NOT NULL,
  hidden_until_ms INTEGER,
  receives INTEGER NOT NULL DEFAULT 0,
  reason TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS message_ready ON message (lane, id) WHERE hidden_until_ms IS NULL;
CREATE INDEX IF NOT EXISTS message_hidden ON message (lane, hidden_until_ms) WHERE hidden_until_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_age ON message (lane, entered_at_ms);
CREATE INDEX IF NOT EXISTS message_dead ON message (id) WHERE lane = ${deadLane};

-- In a table of its own: otherwise every receive would rewrite the pack.
CREATE TABLE IF NOT EXISTS payload (id INTEGER PRIMARY KEY, body TEXT NOT NULL, pack BLOB NOT NULL) STRICT;

CREATE TRIGGER IF NOT EXISTS message_added AFTER INSERT ON message BEGIN
  UPDATE lane SET messages = messages + 1, requests = requests + new.requests WHERE lane = new.lane;
END;
CREATE TRIGGER IF NOT EXISTS message_moved AFTER UPDATE OF lane ON message BEGIN
  UPDATE lane SET messages = messages - 1, requests = requests - old.requests WHERE lane = old.lane;
  UPDATE lane SET messages = messages + 1, requests = requests + new.requests WHERE lane = new.lane;
END;
CREATE TRIGGER IF NOT EXISTS message_removed AFTER DELETE ON message BEGIN
  UPDATE lane SET messages = messages - 1, requests = requests - old.requests WHERE lane = old.lane;
  DELETE FROM payload WHERE id = old.id;
END`;

const columns = "id, requests, sent_at_ms AS sentAtMs, entered_at_ms AS enteredAtMs, receives, reason, body, pack";

// The LIMITs keep each transaction short; the next one does the rest. Without INDEXED BY, SQLite would use `message_age` and
// read every hidden message.
const sql = {
  add: "INSERT INTO message (lane, requests, sent_at_ms, entered_at_ms, hidden_until_ms) VALUES (?, ?, ?, ?, ?)",
  addPayload: "INSERT INTO payload VALUES (?, ?, ?)",
  due: `SELECT EXISTS (SELECT 1 FROM message INDEXED BY message_ready WHERE lane = ? AND hidden_until_ms IS NULL)
    OR EXISTS (SELECT 1 FROM message INDEXED BY message_hidden WHERE lane = ? AND hidden_until_ms <= ?)
    OR EXISTS (SELECT 1 FROM message WHERE lane = ? AND entered_at_ms <= ?) AS due`,
  showDue: `UPDATE message SET hidden_until_ms = NULL WHERE id IN
    (SELECT id FROM message WHERE lane = ? AND hidden_until_ms <= ? ORDER BY hidden_until_ms LIMIT 1000)`,
  oldest: `SELECT ${columns} FROM message INDEXED BY message_ready JOIN payload USING (id)
    WHERE lane = ? AND hidden_until_ms IS NULL ORDER BY id LIMIT ?`,
  handOut: "UPDATE message SET receives = receives + 1, hidden_until_ms = ? WHERE id = ?",
  giveUp: "UPDATE message SET lane = ?, entered_at_ms = ?, reason = ?, receives = 0 WHERE id = ?",
  remove: "DELETE FROM message WHERE id = ? AND lane = ? AND receives = ?",
  hide: "UPDATE message SET hidden_until_ms = ? WHERE id = ? AND lane = ? AND receives = ?",
  aged: "SELECT 1 FROM message WHERE lane = ? AND entered_at_ms <= ? LIMIT 1",
  expire: `DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE lane = ? AND entered_at_ms <= ? LIMIT 500) RETURNING requests`,
  noteExpired:
    "UPDATE lane SET expired_messages = expired_messages + ?, expired_requests = expired_requests + ? WHERE lane = ?",
  count: "SELECT messages, requests FROM lane WHERE lane = ?",
  countExpired: "SELECT expired_messages AS messages, expired_requests AS requests FROM lane WHERE lane = ?",
  // NOT INDEXED: in the order of the ids, without sorting all messages of the lane.
  list: `SELECT ${columns} FROM message NOT INDEXED JOIN payload USING (id) WHERE lane = ${mainLane} ORDER BY id LIMIT ?`,
  listDead: `SELECT ${columns} FROM message INDEXED BY message_dead JOIN payload USING (id)
    WHERE lane = ${deadLane} ORDER BY id LIMIT ?`,
  freePages: "PRAGMA freelist_count",
  allPages: "PRAGMA page_count",
  vacuum: "PRAGMA incremental_vacuum(96)",
  // PASSIVE: does not wait for readers or writers.
  checkpoint: "PRAGMA wal_checkpoint(PASSIVE)",
} as const;

type Statements = SqliteFile<keyof typeof sql>["statements"];
