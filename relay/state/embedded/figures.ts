import type { MachineClock } from "../../process/machine-clock.ts";
import type { Figures, MinuteFigures } from "../port.ts";
import type { StateFile } from "./sql.ts";

/** Stores each counter of a target and minute in one row. */
export class EmbeddedFigures implements Figures {
  readonly #file: StateFile;
  readonly #machine: Pick<MachineClock, "wallMs">;

  constructor(file: StateFile, machine: Pick<MachineClock, "wallMs">) {
    this.#file = file;
    this.#machine = machine;
  }

  async add(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void> {
    const { statements } = this.#file;
    this.#file.transaction(() => {
      // Minutes are by the wall clock. If that is ahead of the file's for a while, it deletes nothing.
      statements.pruneFigures.run(Math.floor(Math.min(this.#machine.wallMs(), this.#file.nowMs())) - keptMs);
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
}

const keptMs = 14 * 86_400_000;
