import type { ClosedRound, SlotRounds } from "../port.ts";
import type { OpenRound, RoundTable, SlotRound } from "../slot-round.ts";
import { readStoredRound } from "../stored-round.ts";
import type { StateFile } from "./sql.ts";

/** Stores the newest round of each target in one row. */
export class EmbeddedRounds implements SlotRounds {
  readonly #file: StateFile;

  constructor(file: StateFile) {
    this.#file = file;
    // An integer that a double cannot hold would throw.
    file.statements.round.setReadBigInts(true);
  }

  async read(target: string): Promise<RoundTable | undefined> {
    return this.#file.guard(() => this.#read(target));
  }

  async enter(target: string): Promise<RoundTable | undefined> {
    return this.#file.transaction(() => {
      this.#file.statements.enterRound.run(target);
      return this.#read(target);
    });
  }

  async close(target: string, last: SlotRound, next: OpenRound, self: boolean): Promise<ClosedRound> {
    return this.#write(target, last, (entered) => ({ ...next, seats: entered + (self ? 1 : 0) }));
  }

  async open(target: string, last: SlotRound | undefined, next: SlotRound): Promise<ClosedRound> {
    return this.#write(target, last, () => next);
  }

  #write(target: string, last: SlotRound | undefined, toRound: (entered: number) => SlotRound): ClosedRound {
    return this.#file.transaction(() => {
      const table = this.#read(target);
      if (table?.round.number !== last?.number) return { written: false, table };
      const round = toRound(table?.entered ?? 0);
      const { number, startUs, endUs, closeUs, seats, slotUs, firstSlot, firstUs } = round;
      this.#file.statements.keepRound.run(target, number, startUs, endUs, closeUs, seats, slotUs, firstSlot, firstUs);
      return { written: true, table: { round, entered: 0 } };
    });
  }

  #read(target: string): RoundTable | undefined {
    const row = this.#file.statements.round.get(target);
    return row && readStoredRound((name) => Number(row[name]));
  }
}
