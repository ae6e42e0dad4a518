import { endedKeptMs } from "../../job/job.ts";
import type { SqliteFile } from "../../sqlite.ts";

// The tables and statements of EmbeddedState.

export const schema = `
CREATE TABLE IF NOT EXISTS round (
  target TEXT PRIMARY KEY, number INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, close_us INTEGER NOT NULL, seats INTEGER NOT NULL,
  slot_us REAL NOT NULL, first_slot INTEGER NOT NULL, first_us INTEGER NOT NULL, entered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agent (
  agent TEXT PRIMARY KEY, packs INTEGER NOT NULL, requests INTEGER NOT NULL, last_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Tables of their own: processes of versions before insert into agent by position.
CREATE TABLE IF NOT EXISTS heard (agent TEXT PRIMARY KEY, heard_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS heard_ms ON heard (heard_ms);
-- AUTOINCREMENT: the ids tell what was folded before what.
CREATE TABLE IF NOT EXISTS ended_run (
  id INTEGER PRIMARY KEY AUTOINCREMENT, agent TEXT NOT NULL UNIQUE, packs INTEGER NOT NULL, requests INTEGER NOT NULL,
  last_sequence INTEGER NOT NULL, prune_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS ended_run_prune ON ended_run (prune_at_ms);
-- since: the id of the first run in the sum; runs with lower ids are among the former agents.
CREATE TABLE IF NOT EXISTS ended_agent (
  agent TEXT PRIMARY KEY, runs INTEGER NOT NULL, packs INTEGER NOT NULL, requests INTEGER NOT NULL, missing INTEGER NOT NULL,
  since INTEGER NOT NULL, folded_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS target (target TEXT PRIMARY KEY, enqueued INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fate (
  target TEXT NOT NULL, fate TEXT NOT NULL, requests INTEGER NOT NULL, PRIMARY KEY (target, fate)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS control (
  target TEXT PRIMARY KEY, version INTEGER NOT NULL, control TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, prune_at_ms INTEGER, job TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job_plan (id TEXT PRIMARY KEY, plan TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- The wall clock minus the clock of this file, for which the times of the job are stored.
CREATE TABLE IF NOT EXISTS job_clock (id TEXT PRIMARY KEY, offset_ms REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minute (
  minute_ms INTEGER NOT NULL, target TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (minute_ms, target, name)
) STRICT, WITHOUT ROWID;

-- requests is NULL until the fan-out is recorded: a fate may be noted earlier.
CREATE TABLE IF NOT EXISTS pack (
  id INTEGER PRIMARY KEY, pack TEXT NOT NULL UNIQUE, requests INTEGER, prune_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS pack_prune ON pack (prune_at_ms);
CREATE TABLE IF NOT EXISTS share (
  pack_id INTEGER NOT NULL REFERENCES pack ON DELETE CASCADE,
  target TEXT NOT NULL,
  fanned_out INTEGER NOT NULL DEFAULT 0,
  final INTEGER NOT NULL,
  sheet BLOB NOT NULL,
  PRIMARY KEY (pack_id, target)
) STRICT, WITHOUT ROWID`;

/** How long packs are remembered whose requests all have a final fate: they may be delivered twice. */
export const finishedKeptMs = 3_600_000;
/** The same for others. SQS keeps messages and dead letters for at most 14 days. */
export const unfinishedKeptMs = 15 * 86_400_000;

const isUnfinished =
  "requests IS NULL OR EXISTS (SELECT 1 FROM share WHERE pack_id = pack.id AND final < pack.requests)";

/**
 * For a file of a version that wrote all times by the wall clock. If that was behind then, or is ahead now, packs and ended jobs
 * would be forgotten at once: so they are kept as if they had been written now.
 */
export const adopt = [
  `UPDATE pack SET prune_at_ms = ?1 + iif(${isUnfinished}, ${unfinishedKeptMs}, ${finishedKeptMs})`,
  `UPDATE job SET prune_at_ms = ?1 + ${endedKeptMs} WHERE prune_at_ms IS NOT NULL`,
];

export const sql = {
  round: `SELECT number, start_us AS startUs, end_us AS endUs, close_us AS closeUs, seats, slot_us AS slotUs, first_slot AS firstSlot,
    first_us AS firstUs, entered FROM round WHERE target = ?`,
  enterRound: "UPDATE round SET entered = entered + 1 WHERE target = ?",
  keepRound: "INSERT OR REPLACE INTO round VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
  addPack: "INSERT INTO pack (pack, prune_at_ms) VALUES (?, ?) ON CONFLICT DO NOTHING",
  packId: "SELECT id FROM pack WHERE pack = ?",
  notePackRequests: "UPDATE pack SET requests = ? WHERE id = ? AND requests IS NULL",
  schedulePruning: `UPDATE pack SET prune_at_ms = iif(${isUnfinished}, ?, ?) WHERE id = ?`,
  // Deletes up to four packs for each new pack: pruning keeps up and never takes long.
  prune: "DELETE FROM pack WHERE id IN (SELECT id FROM pack WHERE prune_at_ms <= ? LIMIT 4)",
  share: "SELECT fanned_out AS fannedOut, sheet FROM share WHERE pack_id = ? AND target = ?",
  sheetByName: "SELECT sheet FROM share JOIN pack ON pack.id = pack_id WHERE pack = ? AND target = ?",
  addShare: "INSERT INTO share (pack_id, target, final, sheet) VALUES (?, ?, 0, x'') ON CONFLICT DO NOTHING",
  keepSheet: `INSERT INTO share (pack_id, target, final, sheet) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET final = excluded.final, sheet = excluded.sheet`,
  noteFannedOut: "UPDATE share SET fanned_out = 1 WHERE pack_id = ? AND target = ? AND fanned_out = 0",
  fannedOut: "SELECT target FROM share JOIN pack ON pack.id = pack_id WHERE pack = ? AND fanned_out = 1",
  addToAgent: `INSERT INTO agent VALUES (?, 1, ?, ?) ON CONFLICT DO UPDATE SET packs = packs + 1,
    requests = requests + excluded.requests, last_sequence = max(last_sequence, excluded.last_sequence)`,
  run: "SELECT packs, requests, last_sequence AS lastSequence FROM agent WHERE agent = ?",
  addToRun: `INSERT INTO agent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET packs = packs + excluded.packs,
    requests = requests + excluded.requests, last_sequence = max(last_sequence, excluded.last_sequence)`,
  // At most once an hour for each run: nearly all packs would only change the time.
  hear: `INSERT INTO heard VALUES (?, ?) ON CONFLICT DO UPDATE SET heard_ms = excluded.heard_ms
    WHERE excluded.heard_ms >= heard_ms + 3600000`,
  unheard: "SELECT agent FROM agent WHERE agent NOT IN (SELECT agent FROM heard) AND agent NOT GLOB 'job/*' LIMIT ?",
  countHeard: "SELECT count(*) AS runs FROM heard",
  longestSilent: "SELECT agent, heard_ms AS heardMs FROM heard ORDER BY heard_ms LIMIT ?",
  hearsAgent: "SELECT 1 FROM heard WHERE agent = ?1 OR (agent >= ?1 || '~' AND agent < ?1 || char(127)) LIMIT 1",
  dropHeard: "DELETE FROM heard WHERE agent = ?",
  endRun: `INSERT INTO ended_run (agent, packs, requests, last_sequence, prune_at_ms) VALUES (?, ?, ?, ?, ?) RETURNING id`,
  endedRun: "SELECT id, packs, requests, last_sequence AS lastSequence FROM ended_run WHERE agent = ?",
  dropEndedRun: "DELETE FROM ended_run WHERE id = ?",
  pruneEndedRuns: "DELETE FROM ended_run WHERE id IN (SELECT id FROM ended_run WHERE prune_at_ms <= ? LIMIT ?)",
  addToEnded: `INSERT INTO ended_agent VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET runs = runs + excluded.runs,
    packs = packs + excluded.packs, requests = requests + excluded.requests, missing = missing + excluded.missing,
    folded_ms = max(folded_ms, excluded.folded_ms)`,
  endedSince: "SELECT since FROM ended_agent WHERE agent = ?",
  dropEmptyEnded: "DELETE FROM ended_agent WHERE agent = ? AND runs = 0",
  countEnded: "SELECT count(*) AS agents FROM ended_agent",
  longestEnded: `SELECT agent, runs, packs, requests, missing, folded_ms AS foldedMs FROM ended_agent WHERE agent <> ?
    ORDER BY folded_ms LIMIT ?`,
  dropEnded: "DELETE FROM ended_agent WHERE agent = ?",
  ended: "SELECT agent, runs, packs, requests, missing AS missingPacks FROM ended_agent ORDER BY agent",
  addToTarget: "INSERT INTO target VALUES (?, ?) ON CONFLICT DO UPDATE SET enqueued = enqueued + excluded.enqueued",
  addToFate: "INSERT INTO fate VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests",
  agents: "SELECT agent, packs, requests, last_sequence AS lastSequence FROM agent ORDER BY agent",
  targets: "SELECT target, enqueued FROM target ORDER BY target",
  fates: "SELECT target, fate, requests FROM fate",
  control: "SELECT version, control FROM control WHERE target = ?",
  keepControl: "INSERT OR REPLACE INTO control VALUES (?, ?, ?)",
  jobs: `SELECT id, version, job, plan, offset_ms AS offsetMs FROM job LEFT JOIN job_plan USING (id) LEFT JOIN job_clock USING (id)
    WHERE prune_at_ms IS NULL OR prune_at_ms > ? ORDER BY id`,
  job: `SELECT id, version, job, plan, offset_ms AS offsetMs FROM job LEFT JOIN job_plan USING (id) LEFT JOIN job_clock USING (id)
    WHERE id = ? AND (prune_at_ms IS NULL OR prune_at_ms > ?)`,
  keepJob: "INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?)",
  keepPlan: "INSERT OR REPLACE INTO job_plan VALUES (?, ?)",
  keepJobClock: "INSERT INTO job_clock VALUES (?, ?) ON CONFLICT DO NOTHING",
  oldJobs: "SELECT id FROM job WHERE prune_at_ms <= ?",
  pruneJobs: "DELETE FROM job WHERE prune_at_ms <= ?",
  prunePlans: "DELETE FROM job_plan WHERE id NOT IN (SELECT id FROM job)",
  pruneJobClocks: "DELETE FROM job_clock WHERE id NOT IN (SELECT id FROM job)",
  moveAgent: `INSERT INTO agent SELECT ?2, packs, requests, last_sequence FROM agent WHERE agent = ?1
    ON CONFLICT DO UPDATE SET packs = packs + excluded.packs, requests = requests + excluded.requests,
    last_sequence = max(last_sequence, excluded.last_sequence)`,
  dropAgent: "DELETE FROM agent WHERE agent = ?",
  moveTarget: `INSERT INTO target SELECT ?2, enqueued FROM target WHERE target = ?1
    ON CONFLICT DO UPDATE SET enqueued = enqueued + excluded.enqueued`,
  dropTarget: "DELETE FROM target WHERE target = ?",
  moveFates: `INSERT INTO fate SELECT ?2, fate, requests FROM fate WHERE target = ?1
    ON CONFLICT DO UPDATE SET requests = requests + excluded.requests`,
  dropFates: "DELETE FROM fate WHERE target = ?",
  addToMinute: `INSERT INTO minute (target, minute_ms, name, count) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count = count + excluded.count`,
  // Deletes one minute per call. Calls are at least as frequent as minutes, so pruning keeps up.
  pruneFigures: `DELETE FROM minute WHERE minute_ms = (SELECT min(minute_ms) FROM minute) AND minute_ms < ?`,
  minutes: `SELECT minute_ms AS minuteMs, name, count FROM minute
    WHERE target = ? AND minute_ms >= ? AND minute_ms < ? ORDER BY minute_ms`,
} as const;

/** The file, which all ports of the state share. */
export type StateFile = SqliteFile<keyof typeof sql>;
