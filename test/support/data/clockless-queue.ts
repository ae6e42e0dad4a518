import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** A message as a version wrote it that measured all times by the wall clock. */
export interface ClocklessMessage {
  readonly body: string;
  readonly pack?: Uint8Array;
  readonly dead?: true;
  readonly enteredAtMs: number;
  readonly hiddenUntilMs?: number;
}

/** Writes the file of the embedded queue `q` as that version did: with its tables, and without a clock. */
export function writeClocklessQueue(directory: string, messages: readonly ClocklessMessage[], name = "q"): void {
  const file = new DatabaseSync(join(directory, `${name}.queue.db`));
  file.exec("PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL");
  file.exec(schema);
  const add = file.prepare(
    "INSERT INTO message (lane, requests, sent_at_ms, entered_at_ms, hidden_until_ms) VALUES (?, 1, ?2, ?2, ?3)",
  );
  const addPayload = file.prepare("INSERT INTO payload VALUES (?, ?, ?)");
  for (const { body, pack = Buffer.from("pack"), dead, enteredAtMs, hiddenUntilMs = null } of messages) {
    const { lastInsertRowid } = add.run(dead ? 1 : 0, enteredAtMs, hiddenUntilMs);
    addPayload.run(lastInsertRowid, body, pack);
  }
  file.close();
}

const schema = `
CREATE TABLE lane (
  lane INTEGER PRIMARY KEY,
  messages INTEGER NOT NULL DEFAULT 0,
  requests INTEGER NOT NULL DEFAULT 0,
  expired_messages INTEGER NOT NULL DEFAULT 0,
  expired_requests INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO lane (lane) VALUES (0), (1);
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lane INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  sent_at_ms INTEGER NOT NULL,
  entered_at_ms INTEGER NOT NULL,
  hidden_until_ms INTEGER,
  receives INTEGER NOT NULL DEFAULT 0,
  reason TEXT
) STRICT;
CREATE INDEX message_ready ON message (lane, id) WHERE hidden_until_ms IS NULL;
CREATE INDEX message_hidden ON message (lane, hidden_until_ms) WHERE hidden_until_ms IS NOT NULL;
CREATE INDEX message_age ON message (lane, entered_at_ms);
CREATE INDEX message_dead ON message (id) WHERE lane = 1;
CREATE TABLE payload (id INTEGER PRIMARY KEY, body TEXT NOT NULL, pack BLOB NOT NULL) STRICT;
CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
  UPDATE lane SET messages = messages + 1, requests = requests + new.requests WHERE lane = new.lane;
END;
CREATE TRIGGER message_moved AFTER UPDATE OF lane ON message BEGIN
  UPDATE lane SET messages = messages - 1, requests = requests - old.requests WHERE lane = old.lane;
  UPDATE lane SET messages = messages + 1, requests = requests + new.requests WHERE lane = new.lane;
END;
CREATE TRIGGER message_removed AFTER DELETE ON message BEGIN
  UPDATE lane SET messages = messages - 1, requests = requests - old.requests WHERE lane = old.lane;
  DELETE FROM payload WHERE id = old.id;
END`;
