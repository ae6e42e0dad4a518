import type { DatabaseSync, StatementSync } from "node:sqlite";
import { hasBootId, type MachineClock } from "./machine-clock.ts";

// While the machine is off, only the wall clock runs, and it may be wrong at the next start: it counts for this long at most.
const longestOffMs = 3_600_000;
// How far the clock may fall back if the machine loses power.
const noteEveryMs = 60_000;

/**
 * The clock of a database, which everything in it that ages or waits is measured by. It begins with the wall clock, and then
 * counts the time for which the machine runs, and up to an hour of the time between two runs. So all processes that have the
 * file open agree, and setting the wall clock changes nothing.
 */
export class FileClock {
  readonly #machine: MachineClock;
  readonly #keep: StatementSync;
  readonly #offsetMs: number;
  readonly #beganMs: number;
  #notedMs: number;

  /**
   * Call it within a transaction.
   *
   * @param adopt statements that are run when the file gets its clock, with the time as their parameter: times that a version
   *   without such a clock wrote are by a wall clock. It may have been wrong then, or may be wrong now
   */
  constructor(database: DatabaseSync, machine: MachineClock, adopt: readonly string[] = []) {
    database.exec(schema);
    const noted = database.prepare(read).get() as unknown as Noted | undefined;
    this.#machine = machine;
    this.#keep = database.prepare(keep);
    this.#offsetMs = toOffset(noted, machine);
    this.#notedMs = noted?.offsetMs === this.#offsetMs ? noted.atMs : Number.NEGATIVE_INFINITY;
    this.note();
    if (!noted) for (const text of [begin, ...adopt]) database.prepare(text).run(this.nowMs());
    this.#beganMs = Number(database.prepare(readBegin).get()?.at_ms ?? Number.NEGATIVE_INFINITY);
  }

  /** For how long the file has had its clock, which began with a wall clock that may have been wrong. */
  get ageMs(): number {
    return this.nowMs() - this.#beganMs;
  }

  /** In milliseconds since 1970, if the wall clock was right when the file was made. Whole, and never less than before. */
  nowMs(): number {
    return Math.floor(this.#machine.uptimeMs() + this.#offsetMs);
  }

  /** Writes the time into the file, by default at most once a minute: the next run of the machine continues there. */
  note(everyMs = noteEveryMs): void {
    const nowMs = this.nowMs();
    if (nowMs - this.#notedMs < everyMs) return;
    this.#keep.run(this.#machine.boot, this.#offsetMs, nowMs, toWhole(this.#machine.wallMs()));
    this.#notedMs = nowMs;
  }
}

interface Noted {
  readonly boot: string;
  readonly offsetMs: number;
  readonly atMs: number;
  readonly wallMs: number;
}

/** What to add to the uptime of the machine. */
function toOffset(noted: Noted | undefined, machine: MachineClock): number {
  const uptimeMs = machine.uptimeMs();
  const wallMs = toWhole(machine.wallMs());
  if (!noted) return Math.max(1, wallMs) - uptimeMs;
  const { boot, offsetMs, atMs } = noted;
  // A machine without a boot id was started again if its uptime is smaller than before. If it is far larger, the file may be from
  // another machine.
  const sinceMs = uptimeMs + offsetMs - atMs;
  const longestMs = hasBootId(machine) ? Number.POSITIVE_INFINITY : longestOffMs;
  if (boot === machine.boot && sinceMs >= -noteEveryMs && sinceMs <= longestMs) return offsetMs;
  return atMs + Math.min(Math.max(0, wallMs - noted.wallMs), longestOffMs) - uptimeMs;
}

function toWhole(ms: number): number {
  return Math.floor(ms);
}

const schema = `CREATE TABLE IF NOT EXISTS clock (
  id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, offset_ms REAL NOT NULL, at_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS clock_begin (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL) STRICT`;
const begin = "INSERT OR REPLACE INTO clock_begin VALUES (1, ?1)";
// Missing in files whose clock is older than this table.
const readBegin = "SELECT at_ms FROM clock_begin";
const read = "SELECT boot, offset_ms AS offsetMs, at_ms AS atMs, wall_ms AS wallMs FROM clock";
// Another process may have noted a later time meanwhile, or a later run of a container with an uptime of its own.
const keep = `INSERT INTO clock VALUES (1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET boot = excluded.boot,
  offset_ms = excluded.offset_ms, at_ms = max(at_ms, excluded.at_ms), wall_ms = excluded.wall_ms`;
