import { maxDelayMs } from "./port.ts";

// The tables and statements of QueueFile.

/** A message belongs to the lane of the queue itself or to that of its dead letters. */
export const mainLane = 0;
export const deadLane = 1;

// `hidden_until_ms` is NULL once a message can be received. So an index holds only the ready messages, in the order of
// sending, and receiving stays fast even if the queue is full of delayed messages or messages in flight.
export const schema = `
CREATE TABLE IF NOT EXISTS lane (
  lane INTEGER PRIMARY KEY,
  messages INTEGER NOT NULL DEFAULT 0,
  requests INTEGER NOT NULL DEFAULT 0,
  expired_messages INTEGER NOT NULL DEFAULT 0,
  expired_requests INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT OR IGNORE INTO lane (lane) VALUES (${mainLane}), (${deadLane});

-- AUTOINCREMENT: ids are never reused; otherwise old receipts would match new messages. They begin at the present time, so that
-- this also holds if this file takes the place of a damaged one.
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
INSERT INTO sqlite_sequence (name, seq) SELECT 'message', unixepoch() * 1000
  WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'message');
CREATE INDEX IF NOT EXISTS message_ready ON message (lane, id) WHERE hidden_until_ms IS NULL;
CREATE INDEX IF NOT EXISTS message_hidden ON message (lane, hidden_until_ms) WHERE hidden_until_ms IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_age ON message (lane, entered_at_ms);
CREATE INDEX IF NOT EXISTS message_dead ON message (id) WHERE lane = ${deadLane};

-- The messages up to this id are of a version that measured ages by the wall clock.
CREATE TABLE IF NOT EXISTS adopted (
  id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL, last_message INTEGER NOT NULL
) STRICT;

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

/**
 * For a file of a version that wrote all times by the wall clock. If that was behind then, or is ahead now, all messages would
 * seem to be old, and be removed: so their ages begin anew. None is hidden for longer than the longest delay.
 */
export const adopt = [
  `UPDATE message SET entered_at_ms = ?1, hidden_until_ms = min(hidden_until_ms, ?1 + ${maxDelayMs})`,
  "INSERT OR REPLACE INTO adopted SELECT 1, ?1, coalesce(max(id), 0) FROM message",
];

const columns = `id, requests, sent_at_ms AS sentAtMs, entered_at_ms AS enteredAtMs, receives, reason, body, pack,
  coalesce(id <= (SELECT last_message FROM adopted), 0) AS adopted`;

// The LIMITs keep each transaction short; the next one does the rest. Without INDEXED BY, SQLite would use `message_age` and
// read every hidden message.
export const sql = {
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
  // The version of what is in the file: 1 since deleted messages are overwritten.
  version: "PRAGMA user_version",
  noteVersion: "PRAGMA user_version = 1",
  // 8 MiB: takes some milliseconds.
  vacuumSome: "PRAGMA incremental_vacuum(512)",
  rewrite: "VACUUM",
} as const;
