import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import {
  type Delivery,
  maxDelayMs,
  maxMessageBytes,
  type OutgoingMessage,
  type QueueDepth,
  QueueError,
  type QueueReceiver,
  type QueueSender,
  type ReceiveOptions,
} from "./port.ts";

export interface EmbeddedQueueOptions {
  /** Made if it is missing, readable by its owner only. */
  readonly directory: string;
  /** As SQS has it: letters, digits, `-` and `_`, 80 at most. */
  readonly name: string;
  /** A message that was handed out so often and has not been deleted becomes a dead letter. */
  readonly maxReceives?: number;
  /** What is older is removed, delivered or not; a dead letter's age counts from its death. */
  readonly retentionMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** A message that is kept for a person to look at. */
export interface DeadLetter {
  readonly messageId: string;
  readonly body: string;
  readonly pack: Uint8Array;
  readonly requests: number;
  readonly sentAtMs: number;
  readonly diedAtMs: number;
  /** Why it was given up; undefined where it was put here by hand. */
  readonly reason?: string;
}

/** Messages of one file that are handed out together: the queue's own, or its dead letters. */
class Lane implements QueueSender, QueueReceiver {
  readonly maxMessageBytes = maxMessageBytes;
  readonly #file: QueueFile;
  readonly #lane: number;
  readonly #maxReceives: number;

  constructor(file: QueueFile, lane: number, maxReceives: number) {
    this.#file = file;
    this.#lane = lane;
    this.#maxReceives = maxReceives;
  }

  /** Stores all messages that can be taken in one transaction: all of them are there, or it throws. */
  async send(messages: readonly OutgoingMessage[]): Promise<readonly (QueueError | undefined)[]> {
    const mistakes = messages.map(findMistake);
    const taken = messages.filter((_, i) => mistakes[i] === undefined);
    if (taken.length > 0) {
      const { add, addPayload } = this.#file.statements;
      this.#file.transaction((nowMs) => {
        for (const { body, pack, requests, delayMs = 0 } of taken) {
          const hiddenUntilMs = delayMs > 0 ? Math.ceil(nowMs + delayMs) : null;
          const { lastInsertRowid } = add.run(this.#lane, requests, nowMs, nowMs, hiddenUntilMs);
          addPayload.run(lastInsertRowid, body, pack);
        }
      });
      this.#file.wake();
    }
    return mistakes;
  }

  /** The oldest first. Sees at once what this object sends, within 25 ms what anyone else does. */
  async receive({ max, waitMs, visibilityMs, signal }: ReceiveOptions): Promise<readonly Delivery[]> {
    assertWithin("max", max, 1, 10);
    assertWithin("visibilityMs", visibilityMs, 0, maxVisibilityMs);
    const endMs = performance.now() + waitMs;
    while (!signal.aborted) {
      // Looks before it locks, so that waiting receivers do not keep senders from writing.
      const deliveries = this.#somethingIsDue() ? this.#take(max, visibilityMs) : [];
      if (deliveries.length > 0) return deliveries;
      this.#file.giveBackSpace();
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) break;
      await this.#file.change(Math.min(leftMs, pollMs), signal);
      if (this.#file.closed) break;
    }
    return [];
  }

  async delete(receipts: readonly string[]): Promise<void> {
    const named = receipts.map(parseReceipt);
    this.#file.transaction(() => {
      for (const { id, receives } of named) this.#file.statements.remove.run(id, this.#lane, receives);
    });
    this.#file.giveBackSpace();
  }

  async extend(receipt: string, visibilityMs: number): Promise<void> {
    assertWithin("visibilityMs", visibilityMs, 0, maxVisibilityMs);
    const { id, receives } = parseReceipt(receipt);
    this.#file.transaction((nowMs) => {
      const hiddenUntilMs = visibilityMs > 0 ? Math.ceil(nowMs + visibilityMs) : null;
      this.#file.statements.hide.run(hiddenUntilMs, id, this.#lane, receives);
    });
    if (visibilityMs === 0) this.#file.wake();
  }

  /** Delayed messages and those in flight included. */
  depth(): QueueDepth {
    this.#removeExpired();
    return { ...(this.#file.read(({ count }) => count.get(this.#lane)) as unknown as QueueDepth) };
  }

  /** What retention has removed from here since the file was made. */
  expired(): QueueDepth {
    this.#removeExpired();
    return { ...(this.#file.read(({ countExpired }) => countExpired.get(this.#lane)) as unknown as QueueDepth) };
  }

  #somethingIsDue(): boolean {
    const lane = this.#lane;
    return this.#file.read(({ due }, nowMs) => {
      return due.get(lane, lane, nowMs, lane, nowMs - this.#file.retentionMs)?.due === 1;
    });
  }

  #take(max: number, visibilityMs: number): Delivery[] {
    const deliveries: Delivery[] = [];
    let buried = 0;
    this.#file.transaction((nowMs) => {
      const { showDue, oldest, handOut, bury } = this.#file.statements;
      this.#file.expire(this.#lane, nowMs);
      showDue.run(this.#lane, nowMs);
      for (;;) {
        const rows = oldest.all(this.#lane, max - deliveries.length) as unknown as MessageRow[];
        for (const row of rows) {
          if (row.receives >= this.#maxReceives) {
            bury.run(deadLane, nowMs, `received ${row.receives} times`, row.id);
            buried++;
            continue;
          }
          handOut.run(Math.ceil(nowMs + visibilityMs), row.id);
          deliveries.push(toDelivery(row));
        }
        if (rows.length === 0 || deliveries.length === max) break;
      }
    });
    if (buried > 0) this.#file.wake();
    return deliveries;
  }

  #removeExpired(): void {
    const oldMs = (nowMs: number) => nowMs - this.#file.retentionMs;
    while (this.#file.read(({ aged }, nowMs) => aged.get(this.#lane, oldMs(nowMs))) !== undefined) {
      this.#file.transaction((nowMs) => this.#file.expire(this.#lane, nowMs));
    }
  }
}

/** A queue's dead letters. They are never given up again, however often they are received. */
export class EmbeddedDeadLetters extends Lane {
  readonly #file: QueueFile;

  constructor(file: QueueFile) {
    super(file, deadLane, Number.POSITIVE_INFINITY);
    this.#file = file;
  }

  /** Up to `max` (1 to 100) in the order they were first sent, after the one named, without receiving them. */
  list({ max, after = "0" }: { readonly max: number; readonly after?: string }): readonly DeadLetter[] {
    assertWithin("max", max, 1, 100);
    const rows = this.#file.read(({ list }) => list.all(Number(after), max)) as unknown as MessageRow[];
    return rows.map(({ id, body, pack, requests, sentAtMs, enteredAtMs, reason }) => ({
      messageId: String(id),
      body,
      pack,
      requests,
      sentAtMs,
      diedAtMs: enteredAtMs,
      ...(reason !== null && { reason }),
    }));
  }
}

/**
 * A queue for one machine, with the semantics of SQS: one SQLite file, with the dead letters in it, that any number of
 * processes and threads may have open. What `send` took outlives the end of any process at any time (of the machine's
 * power, all but the last moments). All methods throw `QueueError`.
 */
export class EmbeddedQueue extends Lane {
  readonly deadLetters: EmbeddedDeadLetters;
  readonly #file: QueueFile;

  static open(options: EmbeddedQueueOptions): EmbeddedQueue {
    return new EmbeddedQueue(new QueueFile(options), options.maxReceives ?? 100);
  }

  private constructor(file: QueueFile, maxReceives: number) {
    super(file, mainLane, maxReceives);
    this.#file = file;
    this.deadLetters = new EmbeddedDeadLetters(file);
  }

  /** Ends waiting receives with nothing. */
  close(): void {
    this.#file.close();
  }
}

const mainLane = 0;
const deadLane = 1;
const maxVisibilityMs = 43_200_000;
const pollMs = 25;
const busyMs = 5_000;
const fourDaysMs = 345_600_000;
// 16 KiB pages: a pack of 64 KB is a chain of 5 pages and not of 16, which makes sending and deleting twice as fast.
const pageBytes = 16_384;
// Free pages up to these are kept for the next messages: giving back and growing again would cost more.
const keptFreePages = 256;
const keptFreeShare = 0.5;

interface MessageRow {
  readonly id: number;
  readonly requests: number;
  readonly sentAtMs: number;
  readonly enteredAtMs: number;
  readonly receives: number;
  readonly reason: string | null;
  readonly body: string;
  readonly pack: Uint8Array;
}

/** The open file: its connection, its statements, and who waits for a change in it. */
class QueueFile {
  readonly statements: Statements;
  readonly retentionMs: number;
  readonly #name: string;
  readonly #now: () => number;
  readonly #database: DatabaseSync;
  readonly #waiting = new Set<() => void>();

  constructor({ directory, name, retentionMs = fourDaysMs, now = Date.now }: EmbeddedQueueOptions) {
    if (!/^[\w-]{1,80}$/.test(name)) throw new QueueError("BAD_ARGUMENT", `"${name}" is no name for a queue`);
    this.#name = name;
    this.retentionMs = retentionMs;
    this.#now = () => Math.floor(now());
    const [database, statements] = this.#guard(() => {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const database = new DatabaseSync(join(directory, `${name}.queue.db`), { timeout: busyMs });
      // The page size and auto_vacuum first: both are fixed by the first write, which WAL mode does.
      database.exec(`PRAGMA page_size = ${pageBytes}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
        PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 8388608;`);
      database.exec(`BEGIN IMMEDIATE; ${schema}; COMMIT`);
      return [database, prepareStatements(database)] as const;
    });
    this.#database = database;
    this.statements = statements;
  }

  get closed(): boolean {
    return !this.#database.isOpen;
  }

  read<T>(look: (statements: Statements, nowMs: number) => T): T {
    return this.#guard(() => look(this.statements, this.#now()));
  }

  transaction(work: (nowMs: number) => void): void {
    this.#guard(() => {
      // The lock first: taken later, at the first write, it would fail instead of waiting for another process.
      this.statements.begin.run();
      try {
        work(this.#now());
        this.statements.commit.run();
      } catch (error) {
        // SQLite has rolled back by itself where the disk is full.
        if (this.#database.isTransaction) this.statements.rollback.run();
        throw error;
      }
    });
  }

  /** Removes some of what is too old. Within a transaction. */
  expire(lane: number, nowMs: number): void {
    const removed = this.statements.expire.all(lane, nowMs - this.retentionMs);
    if (removed.length === 0) return;
    const requests = removed.reduce((sum, row) => sum + Number(row.requests), 0);
    this.statements.noteExpired.run(removed.length, requests, lane);
  }

  /** Returns a MiB or two of free pages to the disk, if there are many. The file shrinks at the next checkpoint. */
  giveBackSpace(): void {
    this.#guard(() => {
      const { freePages, allPages, vacuum, checkpoint } = this.statements;
      const free = Number(freePages.get()?.freelist_count);
      if (free <= keptFreePages || free < Number(allPages.get()?.page_count) * keptFreeShare) return;
      vacuum.all();
      if (free <= 2 * keptFreePages) checkpoint.get();
    });
  }

  /** Resolves at a change made through this object, when the signal is raised, and after `ms` at the latest. */
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
    if (this.closed) return;
    this.#database.close();
    this.wake();
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { code, syscall, message } = error as NodeJS.ErrnoException;
      const ofTheFile = code === "ERR_SQLITE_ERROR" || code === "ERR_INVALID_STATE" || syscall !== undefined;
      throw ofTheFile ? new QueueError("UNAVAILABLE", `queue ${this.#name}: ${message}`, { cause: error }) : error;
    }
  }
}

// `hidden_until_ms` is NULL once a message can be received. So the ready ones stand in an index in the order they were
// sent, and neither a queue full of delayed messages nor one full of messages in flight makes receiving slow.
const schema = `
CREATE TABLE IF NOT EXISTS lane (
  lane INTEGER PRIMARY KEY,
  messages INTEGER NOT NULL DEFAULT 0,
  requests INTEGER NOT NULL DEFAULT 0,
  expired_messages INTEGER NOT NULL DEFAULT 0,
  expired_requests INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT OR IGNORE INTO lane (lane) VALUES (${mainLane}), (${deadLane});

-- AUTOINCREMENT: the id of a deleted message never comes again, or its old receipts would.
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

-- Apart from its message, or every receive would write the pack again.
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

// The limits keep one transaction short; the rest follows with the next. INDEXED BY: SQLite would take `message_age` and
// look at every hidden message.
const sql = {
  begin: "BEGIN IMMEDIATE",
  commit: "COMMIT",
  rollback: "ROLLBACK",
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
  bury: "UPDATE message SET lane = ?, entered_at_ms = ?, reason = ?, receives = 0 WHERE id = ?",
  remove: "DELETE FROM message WHERE id = ? AND lane = ? AND receives = ?",
  hide: "UPDATE message SET hidden_until_ms = ? WHERE id = ? AND lane = ? AND receives = ?",
  aged: "SELECT 1 FROM message WHERE lane = ? AND entered_at_ms <= ? LIMIT 1",
  expire: `DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE lane = ? AND entered_at_ms <= ? LIMIT 500) RETURNING requests`,
  noteExpired:
    "UPDATE lane SET expired_messages = expired_messages + ?, expired_requests = expired_requests + ? WHERE lane = ?",
  count: "SELECT messages, requests FROM lane WHERE lane = ?",
  countExpired: "SELECT expired_messages AS messages, expired_requests AS requests FROM lane WHERE lane = ?",
  list: `SELECT ${columns} FROM message INDEXED BY message_dead JOIN payload USING (id)
    WHERE lane = ${deadLane} AND id > ? ORDER BY id LIMIT ?`,
  freePages: "PRAGMA freelist_count",
  allPages: "PRAGMA page_count",
  vacuum: "PRAGMA incremental_vacuum(96)",
  // Passive: waits for nobody.
  checkpoint: "PRAGMA wal_checkpoint(PASSIVE)",
} as const;

type Statements = Readonly<Record<keyof typeof sql, StatementSync>>;

function prepareStatements(database: DatabaseSync): Statements {
  return Object.fromEntries(Object.entries(sql).map(([name, text]) => [name, database.prepare(text)])) as Statements;
}

function findMistake({ body, pack, requests, delayMs = 0 }: OutgoingMessage): QueueError | undefined {
  const bytes = Buffer.byteLength(body) + pack.length;
  if (bytes > maxMessageBytes) {
    return new QueueError("TOO_BIG", `a message of ${bytes} bytes, ${maxMessageBytes} allowed`);
  }
  if (!(delayMs >= 0 && delayMs <= maxDelayMs)) {
    return new QueueError("BAD_ARGUMENT", `a delay of ${delayMs} ms, ${maxDelayMs} allowed`);
  }
  if (!Number.isSafeInteger(requests) || requests < 0) {
    return new QueueError("BAD_ARGUMENT", `a message of ${requests} requests`);
  }
  return undefined;
}

function assertWithin(what: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new QueueError("BAD_ARGUMENT", `${what} is ${value}, not from ${least} to ${most}`);
}

function toDelivery({ id, receives, body, pack, sentAtMs }: MessageRow): Delivery {
  const receiveCount = receives + 1;
  return { messageId: String(id), receipt: `${id}.${receiveCount}`, body, pack, receiveCount, sentAtMs };
}

// The message and which of its deliveries: newer ones have a higher count, so an old receipt no longer fits.
function parseReceipt(receipt: string): { readonly id: number; readonly receives: number } {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(receipt);
  if (match === null) throw new QueueError("BAD_ARGUMENT", `"${receipt}" is no receipt`);
  return { id: Number(match[1]), receives: Number(match[2]) };
}
