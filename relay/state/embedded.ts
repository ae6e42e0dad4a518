import type { SQLOutputValue } from "node:sqlite";
import { endedKeptMs, forgottenJobsKey, type Job, jobKey, parseJob } from "../job/job.ts";
import { SqliteFile } from "../sqlite.ts";
import { schema, sql } from "./embedded-sql.ts";
import { countFinal, type FateSheet, noteFates, settledIndexes, withdrawFate } from "./fate-sheet.ts";
import {
  type FannedOutPack,
  type Fate,
  fates,
  type LedgerFigures,
  type MinuteFigures,
  type Settlement,
  type State,
  StateError,
  type VersionedControl,
  type VersionedJob,
} from "./port.ts";
import { grantSlots, maxRequestAgeMs, type SlotGrant, type SlotRequest } from "./slot-lease.ts";
import { parseControl, type TargetControl } from "./target-control.ts";

/**
 * The state for one machine, in one SQLite file that any number of processes may have open. Every method is one
 * transaction; what it recorded outlives the end of any process at any time. All methods throw `StateError`.
 */
export class EmbeddedState implements State {
  readonly #file: SqliteFile<keyof typeof sql>;
  readonly #now: () => number;

  /** Keeps `state.db` in the directory, which is made if it is missing. `now` is in milliseconds since 1970. */
  static open(directory: string, now: () => number = Date.now): EmbeddedState {
    return new EmbeddedState(
      new SqliteFile({
        directory,
        file: "state.db",
        pragmas: "",
        schema,
        sql,
        toError: (message, options) => new StateError(message, options),
      }),
      now,
    );
  }

  private constructor(file: SqliteFile<keyof typeof sql>, now: () => number) {
    this.#file = file;
    this.#now = () => Math.floor(now());
  }

  close(): void {
    this.#file.close();
  }

  async lease(target: string, request: SlotRequest): Promise<SlotGrant> {
    const askedAtMs = this.#now();
    return this.#transaction(({ course, steer }) => {
      const last = course.get(target) as unknown as Course | undefined;
      const tatUs = last && nextSlotUs(last);
      const grant = grantSlots(tatUs, request);
      if (!grant.granted) return { granted: false, retryAtUs: grant.retryAtUs };
      const { startUs } = grant;
      // Another process may have held the file for seconds.
      const setBack = tatUs !== undefined && startUs < tatUs;
      if (setBack && this.#now() - askedAtMs > maxRequestAgeMs) return { granted: false, retryAtUs: request.nowUs };
      // Counted from where the course began: sums of rounded distances would run ahead of rates such as 3/s.
      const continues = last !== undefined && startUs === tatUs && request.slotUs === last.slotUs;
      if (continues) steer.run(target, last.anchorUs, last.slotUs, last.slots + request.slots);
      else steer.run(target, startUs, request.slotUs, request.slots);
      return { granted: true, startUs };
    });
  }

  async recordFanOut({ pack, agent, sequence, requests, targets }: FannedOutPack): Promise<void> {
    this.#transaction((statements) => {
      statements.prune.run(this.#now());
      const id = this.#packId(pack);
      const { changes } = statements.notePackRequests.run(requests, id);
      if (changes > 0) statements.addToAgent.run(agent, requests, sequence);
      for (const [target, settlement] of targets) {
        // A target can be new in a second attempt; one that is not keeps what the first attempt did.
        statements.addShare.run(id, target);
        if (statements.noteFannedOut.run(id, target).changes === 0) continue;
        statements.addToTarget.run(target, requests);
        this.#note(id, target, settlement);
      }
      this.#schedulePruning(id);
    });
  }

  async settle(target: string, pack: string, settlement: Settlement): Promise<void> {
    this.#transaction(() => {
      const id = this.#packId(pack);
      if (this.#note(id, target, settlement)) this.#schedulePruning(id);
    });
  }

  async unsettle(target: string, pack: string, indexes: readonly number[], fate: Fate): Promise<void> {
    this.#transaction((statements) => {
      const id = statements.packId.get(pack)?.id;
      if (typeof id !== "number") return;
      const { sheet, withdrawn } = withdrawFate(this.#sheet(id, target), indexes, fate);
      if (withdrawn === 0) return;
      statements.keepSheet.run(id, target, countFinal(sheet), sheet);
      statements.addToFate.run(target, fate, -withdrawn);
      this.#schedulePruning(id);
    });
  }

  async fannedOut(pack: string): Promise<ReadonlySet<string>> {
    const rows = this.#file.guard(() => this.#statements.fannedOut.all(pack));
    return new Set(rows.map(({ target }) => String(target)));
  }

  async settled(target: string, pack: string): Promise<ReadonlySet<number>> {
    const row = this.#file.guard(() => this.#statements.sheetByName.get(pack, target));
    return settledIndexes((row?.sheet as FateSheet | undefined) ?? new Uint8Array());
  }

  async figures(): Promise<LedgerFigures> {
    return this.#transaction((statements) => {
      const agents = statements.agents.all() as unknown as LedgerFigures["agents"];
      const targets = new Map<string, { enqueued: number; fates: Record<Fate, number> }>();
      for (const { target, enqueued } of statements.targets.all()) {
        targets.set(String(target), { enqueued: Number(enqueued), fates: noFates() });
      }
      for (const { target, fate, requests } of statements.fates.all()) {
        const figures = targets.get(String(target));
        if (figures) figures.fates[fate as Fate] = Number(requests);
      }
      return { agents: agents.map((agent) => ({ ...agent })), targets };
    });
  }

  async readControl(target: string): Promise<VersionedControl> {
    const row = this.#file.guard(() => this.#statements.control.get(target));
    if (!row) return { control: {}, version: 0 };
    return { control: parseControl(String(row.control)), version: Number(row.version) };
  }

  async writeControl(target: string, control: TargetControl, version: number): Promise<boolean> {
    return this.#transaction((statements) => {
      const seen = Number(statements.control.get(target)?.version ?? 0);
      if (seen !== version) return false;
      statements.keepControl.run(target, version + 1, JSON.stringify(control));
      return true;
    });
  }

  async addFigures(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void> {
    this.#transaction((statements) => {
      statements.pruneFigures.run(this.#now() - figuresKeptMs);
      for (const [name, count] of counts) statements.addToMinute.run(target, minuteMs, name, count);
    });
  }

  async readFigures(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]> {
    const rows = this.#file.guard(() => this.#statements.minutes.all(target, fromMs, untilMs));
    return Array.from(
      Map.groupBy(rows, ({ minuteMs }) => Number(minuteMs)),
      ([minuteMs, counters]) => ({
        minuteMs,
        counts: new Map(counters.map(({ name, count }) => [String(name), Number(count)])),
      }),
    );
  }

  async listJobs(): Promise<readonly VersionedJob[]> {
    return this.#file.guard(() => this.#statements.jobs.all(this.#now())).map(toVersionedJob);
  }

  async readJob(id: string): Promise<VersionedJob | undefined> {
    const row = this.#file.guard(() => this.#statements.job.get(id, this.#now()));
    return row && toVersionedJob(row);
  }

  async writeJob(job: Job, version: number): Promise<boolean> {
    return this.#transaction((statements) => {
      this.#pruneJobs();
      const seen = Number(statements.job.get(job.id, this.#now())?.version ?? 0);
      if (seen !== version) return false;
      const pruneAtMs = job.endedAtMs === undefined ? null : job.endedAtMs + endedKeptMs;
      statements.keepJob.run(job.id, version + 1, pruneAtMs, JSON.stringify(job));
      return true;
    });
  }

  #pruneJobs(): void {
    const statements = this.#statements;
    for (const { id } of statements.oldJobs.all(this.#now())) {
      const key = jobKey(String(id));
      for (const what of ["Agent", "Target", "Fates"] as const) {
        statements[`move${what}`].run(key, forgottenJobsKey);
        statements[`drop${what}`].run(key);
      }
    }
    statements.pruneJobs.run(this.#now());
  }

  /** Whether any of the fates was new. */
  #note(packId: number, target: string, settlement: Settlement): boolean {
    const { sheet, noted } = noteFates(this.#sheet(packId, target), settlement);
    this.#statements.addToTarget.run(target, 0);
    this.#statements.keepSheet.run(packId, target, countFinal(sheet), sheet);
    for (const [fate, requests] of noted) this.#statements.addToFate.run(target, fate, requests);
    return noted.size > 0;
  }

  #sheet(packId: number, target: string): FateSheet {
    return (this.#statements.sheet.get(packId, target)?.sheet as FateSheet | undefined) ?? new Uint8Array();
  }

  #packId(pack: string): number {
    this.#statements.addPack.run(pack, this.#now() + unfinishedKeptMs);
    return Number(this.#statements.packId.get(pack)?.id);
  }

  #schedulePruning(packId: number): void {
    const nowMs = this.#now();
    this.#statements.schedulePruning.run(nowMs + unfinishedKeptMs, nowMs + finishedKeptMs, packId);
  }

  get #statements(): Statements {
    return this.#file.statements;
  }

  #transaction<T>(work: (statements: Statements) => T): T {
    return this.#file.transaction(() => work(this.#statements));
  }
}

// For deliveries that come twice.
const finishedKeptMs = 3_600_000;
// A message lives 14 days at most, a dead letter too.
const unfinishedKeptMs = 15 * 86_400_000;
const figuresKeptMs = 14 * 86_400_000;

/** Slots given away since the target was last idle or its rate changed. */
interface Course {
  readonly anchorUs: number;
  readonly slotUs: number;
  readonly slots: number;
}

function nextSlotUs({ anchorUs, slotUs, slots }: Course): number {
  return anchorUs + Math.round(slots * slotUs);
}

function toVersionedJob({ job, version }: Record<string, SQLOutputValue>): VersionedJob {
  return { job: parseJob(String(job)), version: Number(version) };
}

function noFates(): Record<Fate, number> {
  return Object.fromEntries(fates.map((fate) => [fate, 0])) as Record<Fate, number>;
}

type Statements = SqliteFile<keyof typeof sql>["statements"];
