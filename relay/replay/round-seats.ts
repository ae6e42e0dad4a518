import type { Clock } from "../clock.ts";
import type { SlotRounds } from "../state/port.ts";
import {
  closingUs,
  enteringUs,
  isLost,
  maxLateUs,
  nextSlotUs,
  type RoundTable,
  type Seat,
  type SlotRound,
  slotOf,
  toNextRound,
  toOpenedRound,
} from "../state/slot-round.ts";
import { GapForecast } from "./gap-forecast.ts";
import type { LiveRate } from "./live-rate.ts";

export interface RoundSeatsOptions {
  readonly target: string;
  readonly rate: LiveRate;
  readonly rounds: SlotRounds;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

// When workers look whether the round was closed; more than clocks differ. If it was not, they close it themselves, one after
// the other.
const lookAfterUs = 120_000;
const standInAfterUs = 100_000;
const standInStepUs = 20_000;
const mostSteps = 10;
// After a pause, the first worker closes the round once others that came at the same moment have entered.
const gatherUs = 60_000;
// The rate of a round is read this long before the round is closed.
const refreshBeforeUs = 200_000;
const freshMs = 100;
// Rounds follow each other if the next slot is due this soon. Otherwise a round is opened when the slot is due.
const restUs = 1_000_000;
// Workers that wait for such a slot look at different times.
const spreadUs = 250_000;
const longestSleepUs = 1_000_000;
const retryUs = 100_000;
// While a rate rises after a slowdown, workers that read it at different times differ by less.
const maxDifference = 1.15;

/** Thrown where a step waits for a time of a round that the clock, which was set back, will reach only hours later. */
const setBack = new Error("the clock was set back");

/** The seats of one process in the rounds of a target, and the slots that they bring. */
export class RoundSeats {
  readonly #options: RoundSeatsOptions;
  readonly #waiters = new Set<Waiter>();
  /** Seats that may still have slots, in the order of their rounds. */
  #seats: readonly Seat[] = [];
  /** The newest known round, the own seat in it, and the own seat in the round after it. */
  #round: SlotRound | undefined;
  #seat: number | undefined;
  #nextSeat: number | undefined;
  #enteredUs = Number.NEGATIVE_INFINITY;
  #lastSlot = -1;
  /** The part of the next slot that may be used at the current rate, from slots that were not used. */
  #part = 0;
  /** How many own slots pass unused for each slot that is used: an average. */
  #unused = 0;
  #callers = 0;
  #lastCallUs = Number.NEGATIVE_INFINITY;
  /** From the end of a call to the next call. */
  readonly #gaps = new GapForecast();
  #running = false;

  constructor(options: RoundSeatsOptions) {
    this.#options = options;
  }

  /** Keeps a seat while `work` runs, and afterwards as long as another call is likely. */
  async during(work: () => Promise<void>): Promise<void> {
    const gapUs = this.#nowUs - this.#lastCallUs;
    if (this.#callers++ === 0 && Number.isFinite(gapUs)) this.#gaps.note(gapUs);
    try {
      await work();
    } finally {
      this.#callers--;
      this.#lastCallUs = this.#nowUs;
    }
  }

  /** The due time of the next slot of this process, which then belongs to the caller; undefined if none is known. */
  take(): number | undefined {
    for (let [seat] = this.#seats; seat; [seat] = this.#seats) {
      const { round } = seat;
      const slot = isLost(round, this.#nowUs) ? undefined : slotOf(seat, this.#nowUs - maxLateUs, this.#lastSlot);
      if (!slot) {
        this.#seats = this.#seats.slice(1);
        continue;
      }
      const passed =
        Math.floor((slot.slot - Math.max(this.#lastSlot, round.firstSlot - round.seats)) / round.seats) - 1;
      this.#lastSlot = slot.slot;
      // Until the next round, a rate that has fallen is kept by using a part of the slots.
      this.#part += this.#slotUs > round.slotUs * maxDifference ? round.slotUs / this.#slotUs : 1;
      if (this.#part < 1) continue;
      this.#part %= 1;
      this.#unused += (passed - this.#unused) / 4;
      return slot.dueUs;
    }
    return undefined;
  }

  /** Resolves when there may be new slots. Rejects if the state does not answer, or the signal is aborted. */
  async changed(signal: AbortSignal): Promise<void> {
    const changed = new Promise<void>((resolve, reject) => {
      const settle = (then: () => void) => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", stop);
        then();
      };
      const waiter: Waiter = { resolve: () => settle(resolve), reject: (reason) => settle(() => reject(reason)) };
      const stop = () => waiter.reject(signal.reason);
      this.#waiters.add(waiter);
      signal.addEventListener("abort", stop, { once: true });
    });
    if (!this.#running) this.#run();
    await changed;
  }

  get #nowUs(): number {
    return this.#options.clock.nowUs();
  }

  /** At the current rate; 0 if it has no limit. */
  get #slotUs(): number {
    return 1_000_000 / this.#options.rate.ratePerSecond;
  }

  #run(): void {
    this.#running = true;
    void this.#takeSeats().finally(() => {
      this.#running = false;
      if (this.#waiters.size > 0) this.#run();
    });
  }

  /** Takes seats until no call is expected. Never rejects. */
  async #takeSeats(): Promise<void> {
    while (this.#expectedUs(this.#nowUs) !== undefined) {
      try {
        await this.#step();
      } catch (error) {
        if (error === setBack) continue;
        const hasSlots = this.#seats.some((seat) => slotOf(seat, this.#nowUs - maxLateUs, this.#lastSlot));
        if (!hasSlots) {
          for (const { reject } of this.#waiters) reject(error);
          return;
        }
        await this.#sleep(this.#nowUs + retryUs);
      }
    }
  }

  /** When the next call is likely, now if there is one or it is due; undefined if none is expected. */
  #expectedUs(nowUs: number): number | undefined {
    if (this.#callers > 0) return nowUs;
    const idleUs = nowUs - this.#lastCallUs;
    const gapUs = this.#gaps.after(idleUs);
    if (gapUs !== undefined) return this.#lastCallUs + gapUs;
    const overdue = idleUs > restUs && this.#gaps.after(idleUs - restUs) === undefined;
    return overdue ? undefined : nowUs;
  }

  /** One step towards a seat in the next round. */
  async #step(): Promise<void> {
    const nowUs = this.#nowUs;
    const round = this.#round;
    if (this.#slotUs === 0) {
      this.#wake();
      return this.#sleep(nowUs + retryUs);
    }
    // Who uses all of its slots leaves them to others until the next call. In pieces: the call may come earlier.
    const aheadUs = restUs + 2 * (round ? round.endUs - round.startUs : 0);
    if (this.#unused < 1 && (this.#expectedUs(nowUs) ?? nowUs) > nowUs + aheadUs) return this.#sleep(nowUs + retryUs);
    if (!round || isLost(round, nowUs)) return this.#open();
    const over = nowUs >= round.endUs;
    if (nextSlotUs(round, this.#slotUs) > Math.max(nowUs, round.endUs) + restUs) {
      return over ? this.#open() : this.#sleep(round.endUs);
    }
    if (this.#nextSeat !== undefined) return this.#follow(round, this.#nextSeat);
    if (over) {
      if (!(await this.#look(round))) await this.#enter();
    } else if (this.#seat === round.seats - 1) {
      await this.#close(round, closingUs(round), true);
    } else {
      if (this.#seat !== undefined) await this.#sleep(enteringUs({ round, seat: this.#seat }));
      if (this.#expectedUs(this.#nowUs) !== undefined) await this.#enter();
    }
  }

  async #enter(): Promise<void> {
    const table = await this.#options.rounds.enter(this.#options.target);
    this.#learn(table);
    if (table) this.#nextSeat = table.entered - 1;
    this.#enteredUs = this.#nowUs;
  }

  /** Waits until the next round is closed, or closes it. */
  async #follow(round: SlotRound, nextSeat: number): Promise<void> {
    let closeUs = closingUs(round);
    let place = this.#seat === undefined ? mostSteps * this.#options.random() : round.seats - 2 - this.#seat;
    if (this.#enteredUs > closeUs) {
      closeUs = this.#enteredUs + gatherUs;
      if (nextSeat === 0) return this.#close(round, closeUs, false);
      place = nextSeat;
    }
    await this.#sleep(closeUs + lookAfterUs);
    if (await this.#look(round)) return;
    await this.#sleep(closeUs + lookAfterUs + standInAfterUs + Math.min(mostSteps, place) * standInStepUs);
    if (!(await this.#look(round))) await this.#close(round, this.#nowUs, false);
  }

  /** Reads the newest round; true if it is another one. */
  async #look(round: SlotRound): Promise<boolean> {
    const table = await this.#options.rounds.read(this.#options.target);
    this.#learn(table);
    return table?.round.number !== round.number;
  }

  async #close(round: SlotRound, atUs: number, self: boolean): Promise<void> {
    const { rounds, target, rate } = this.#options;
    await this.#sleep(atUs - refreshBeforeUs);
    await rate.refresh(freshMs);
    await this.#sleep(atUs);
    if (this.#slotUs === 0) return;
    const { written, table } = await rounds.close(target, round, toNextRound(round, this.#slotUs, this.#nowUs), self);
    if (written && self) this.#nextSeat = table.round.seats - 1;
    this.#learn(table);
  }

  /** Opens a round when the next slot is due, unless somebody else has. */
  async #open(): Promise<void> {
    const { rounds, target, rate, random } = this.#options;
    const table = await rounds.read(target);
    const last = table?.round;
    this.#learn(table);
    await rate.refresh();
    const nowUs = this.#nowUs;
    if (this.#slotUs === 0) return;
    if (last && !isLost(last, nowUs)) {
      const dueUs = nextSlotUs(last, this.#slotUs);
      if (nowUs < last.endUs || dueUs <= nowUs) return;
      const openUs = dueUs - (0.2 + 0.8 * random()) * spreadUs;
      if (openUs > nowUs) return this.#sleep(Math.min(openUs, nowUs + longestSleepUs));
    }
    const opened = await rounds.open(target, last, toOpenedRound(last, this.#slotUs, nowUs));
    this.#learn(opened.table);
    if (opened.written) this.#sit(opened.table.round, 0);
  }

  /** Notes a newer round. The seat that was taken after the known round is in the round that follows it, and in no other. */
  #learn(table: RoundTable | undefined): void {
    const round = table?.round;
    const known = this.#round;
    if (round && round.number === known?.number) return;
    const seat = round && known && round.number === known.number + 1 ? this.#nextSeat : undefined;
    if (known && (!round || round.firstSlot < known.firstSlot)) {
      // The state was lost: its slots are numbered from 0 again.
      this.#lastSlot = -1;
      this.#seats = [];
    }
    this.#round = round;
    this.#seat = undefined;
    this.#nextSeat = undefined;
    if (round && seat !== undefined) this.#sit(round, seat);
  }

  #sit(round: SlotRound, seat: number): void {
    this.#seat = seat;
    this.#seats = [...this.#seats, { round, seat }];
    this.#wake();
  }

  #wake(): void {
    for (const { resolve } of this.#waiters) resolve();
  }

  /** Throws `setBack` if that time is too far ahead. */
  async #sleep(untilUs: number): Promise<void> {
    const round = this.#round;
    if (round && isLost(round, this.#nowUs) && untilUs > this.#nowUs + longestSleepUs) throw setBack;
    await this.#options.clock.sleepUntil(untilUs);
  }
}
