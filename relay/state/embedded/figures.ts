import type { MachineClock } from "../../process/machine-clock.ts";
import { SettledClock } from "../../process/settled-clock.ts";
import type { Figures, MinuteFigures } from "../port.ts";
import type { StateFile } from "./sql.ts";

/** Stores each counter of a target and minute in one row. */
export class EmbeddedFigures implements Figures {
  readonly #file: StateFile;
  readonly #machine: MachineClock;
  readonly #settled: SettledClock;
  #settledMs: number | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(file: StateFile, machine: MachineClock) {
    this.#file = file;
    this.#machine = machine;
    this.#settled = new SettledClock(machine);
  }

  async add(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void> {
    const { statements } = this.#file;
    this.#file.transaction(() => {
      statements.pruneFigures.run(Math.floor(this.#nowMs()) - keptMs);
      for (const [name, count] of counts) statements.addToMinute.run(target, minuteMs, name, count);
    });
  }

  async read(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]> {
    const rows = this.#file.guard(() => this.#file.statements.minutes.all(target, fromMs, untilMs));
    return Array.from(
      Map.groupBy(rows, ({ minuteMs }) => Number(minuteMs)),
      ([minuteMs, counters]) => ({
        minuteMs,
        counts: new Map(counters.map(({ name, count }) => [String(name), Number(count)])),
      }),
    );
  }

  /**
   * Minutes are by the wall clock. If that is set ahead, nothing is deleted within the next hour. Before the wall clock was
   * watched for an hour, the clock of the file counts too: it may be behind for ever. But not in its own first hour, because it
   * begins with the wall clock.
   */
  #nowMs(): number {
    const uptimeMs = this.#machine.uptimeMs();
    if (uptimeMs - this.#lookedMs >= lookEveryMs) {
      this.#settledMs = this.#settled.nowMs();
      this.#lookedMs = uptimeMs;
    }
    if (this.#settledMs !== undefined) return this.#settledMs;
    return this.#file.clockAgeMs < settleMs ? 0 : Math.min(this.#machine.wallMs(), this.#file.nowMs());
  }
}

const lookEveryMs = 60_000;
const settleMs = 3_600_000;
const keptMs = 14 * 86_400_000;
