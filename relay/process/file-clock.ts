import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { MachineClock } from "./machine-clock.ts";

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
  #notedMs: number;

  /**
   * Call it within a transaction.
   *
   * @param adopt a statement that is run when the file gets its clock, with the time as its parameter: times that a version without
   *   such a clock wrote are by a wall clock, which may have been far ahead
   */
  constructor(database: DatabaseSync, machine: MachineClock, adopt?: string) {
    database.exec(schema);
    const noted = database.prepare(read).get() as unknown as Noted | undefined;
    this.#machine = machine;
    this.#keep = database.prepare(keep);
    this.#offsetMs = toOffset(noted, machine);
    this.#notedMs = noted?.offsetMs === this.#offsetMs ? noted.atMs : Number.NEGATIVE_INFINITY;
    this.note();
    if (!noted && adopt !== undefined) database.prepare(adopt).run(this.nowMs());
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
  // A machine without a boot id was started again if its uptime is smaller than before.
  if (boot === machine.boot && uptimeMs + offsetMs >= atMs - noteEveryMs) return offsetMs;
  return atMs + Math.min(Math.max(0, wallMs - noted.wallMs), longestOffMs) - uptimeMs;
}

function toWhole(ms: number): number {
  return Math.floor(ms);
}

const schema = `CREATE TABLE IF NOT EXISTS clock (
  id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL, offset_ms REAL NOT NULL, at_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL
) STRICT`;
const read = "SELECT boot, offset_ms AS offsetMs, at_ms AS atMs, wall_ms AS wallMs FROM clock";
// Another process may have noted a later time meanwhile, or a later run of a container with an uptime of its own.
const keep = `INSERT INTO clock VALUES (1, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET boot = excluded.boot,
  offset_ms = excluded.offset_ms, at_ms = max(at_ms, excluded.at_ms), wall_ms = excluded.wall_ms`;
