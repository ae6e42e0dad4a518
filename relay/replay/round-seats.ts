import type { Clock } from "../clock.ts";
import { type SlotRounds, StateError } from "../state/port.ts";
import {
  enteringUs,
  isLost,
  longestOpenUs,
  nextSlotUs,
  type RoundTable,
  type SlotRound,
  toNextRound,
  toOpenedRound,
} from "../state/slot-round.ts";
import { DealtSlots } from "./dealt-slots.ts";
import type { LiveRate } from "./live-rate.ts";
import { TimedRounds } from "./timed-rounds.ts";
import { Waiters } from "./waiters.ts";

export interface RoundSeatsOptions {
  readonly target: string;
  readonly rate: LiveRate;
  readonly rounds: SlotRounds;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
}

/** Says whether requests wait although they have slots: then their process will soon want slots again. */
export interface Load {
  readonly exhausted: boolean;
}

// Workers look whether the last seat has closed a round, again and again for as long as clocks may differ. If it has not, they
// close it, one after the other.
const lookAgainUs = 40_000;
const clocksDifferUs = 100_000;
const stepUs = 20_000;
const steps = 8;
// After a pause, the first worker closes the round once others that came at the same moment have entered.
const gatherUs = 60_000;
// Rounds follow each other if the next slot is due this soon. Otherwise a round is opened when the slot is due.
const restUs = 1_000_000;
// A rate that changes is kept, or reached, within two seconds.
const rateAgeMs = 600;
const longestSleepUs = 1_000_000;
// While the state does not answer: the pause before the next attempt, which doubles, and after which attempt callers learn of it.
const firstRetryUs = 100_000;
const longestRetryUs = 2_000_000;
const attempts = 3;
// Longer than from one request of a pack to the next, or from one pack to the next.
const betweenUs = 50_000;
// With so many slots that a third of them pass unused, a seat is kept this long while all requests are in flight: longer than the
// usual time-out of a request.
const keepUs = 12_000_000;

/** The seats of one process in the rounds of a target, and the slots that they bring. */
export class RoundSeats {
  readonly #options: RoundSeatsOptions;
  readonly #rounds: TimedRounds;
  readonly #waiters = new Waiters();
  readonly #slots = new DealtSlots();
  /** The newest known round, the own seat in it, and the own seat in the round after it. */
  #round: SlotRound | undefined;
  #seat: number | undefined;
  #nextSeat: number | undefined;
  #enteredUs = Number.NEGATIVE_INFINITY;
  #callers = 0;
  #lastCallUs = Number.NEGATIVE_INFINITY;
  #load: Load | undefined;
  #failures = 0;
  #lost: { readonly number: number; readonly sinceUs: number } | undefined;
  #running = false;

  constructor(options: RoundSeatsOptions) {
    this.#options = options;
    this.#rounds = new TimedRounds(options.target, options.rounds, options.clock);
  }

  /** Keeps a seat while `work` runs, and afterwards for a while if all requests of `load` are in flight and others wait. */
  async during(work: () => Promise<void>, load: Load | undefined): Promise<void> {
    this.#callers++;
    this.#load = load;
    try {
      await work();
    } finally {
      this.#callers--;
      this.#lastCallUs = this.#nowUs;
    }
  }

  /** The due time of the next slot of this process, which then belongs to the caller; undefined if none is known. */
  take(): number | undefined {
    return this.#slots.take(this.#nowUs, this.#slotUs);
  }

  /** Resolves when there may be new slots. Rejects if the state does not answer, or the signal is aborted. */
  async changed(signal: AbortSignal): Promise<void> {
    const changed = this.#waiters.wait(signal);
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
    this.#failures = 0;
    while (this.#isWanted()) {
      try {
        await this.#step();
        this.#failures = 0;
      } catch (error) {
        if (error === setBack) {
          this.#enteredUs = Math.min(this.#enteredUs, this.#nowUs);
          continue;
        }
        this.#failures++;
        // Not at the first failure: a call that began before the process was frozen fails when it thaws.
        if (this.#failures >= attempts) this.#waiters.reject(error);
        const pauseUs = Math.min(longestRetryUs, firstRetryUs * 2 ** (this.#failures - 1));
        const untilUs = this.#nowUs + pauseUs * (0.5 + this.#options.random());
        await this.#options.clock.sleepUntil(untilUs, this.#callers > 0 ? never : undefined);
      }
    }
  }

  /** Whether there is a call, or one comes as soon as a request in flight is answered. */
  #isWanted(): boolean {
    if (this.#callers > 0) return true;
    const idleUs = this.#nowUs - this.#lastCallUs;
    if (idleUs >= 0 && idleUs < betweenUs) return true;
    if (idleUs < 0 || !this.#load?.exhausted) return false;
    // A worker that used more than two thirds of its slots so far gives up its seat soon: others then get the slots.
    const round = this.#round;
    const ownSlotUs = round ? round.seats * round.slotUs : 0;
    return idleUs < (this.#slots.hasPlenty(this.#nowUs) ? keepUs : Math.max(restUs, ownSlotUs));
  }

  /** One step towards a seat in the next round. */
  async #step(): Promise<void> {
    const nowUs = this.#nowUs;
    const round = this.#round;
    if (this.#slotUs === 0) {
      this.#waiters.resolve();
      return this.#sleep(nowUs + firstRetryUs);
    }
    if (!round || isLost(round, nowUs)) return this.#open();
    const over = nowUs >= round.endUs;
    if (nextSlotUs(round, this.#slotUs) > Math.max(nowUs, round.endUs) + restUs) {
      return over ? this.#open() : this.#sleep(round.endUs);
    }
    if (this.#nextSeat !== undefined) return this.#follow(round, this.#nextSeat);
    if (over) {
      if (!(await this.#look(round))) await this.#enter();
    } else if (this.#seat === round.seats - 1) {
      await this.#close(round, round.closeUs, true);
    } else {
      if (this.#seat !== undefined) await this.#sleep(enteringUs({ round, seat: this.#seat }, this.#rounds.tripUs));
      if (this.#isWanted()) await this.#enter();
    }
  }

  async #enter(): Promise<void> {
    const table = await this.#rounds.enter();
    this.#learn(table);
    if (table) this.#nextSeat = table.entered - 1;
    this.#enteredUs = this.#nowUs;
  }

  /** Waits until the next round is closed, or closes it. */
  async #follow(round: SlotRound, nextSeat: number): Promise<void> {
    let { closeUs } = round;
    let place = this.#seat === undefined ? steps : round.seats - 2 - this.#seat;
    if (this.#enteredUs > closeUs) {
      closeUs = this.#enteredUs + gatherUs;
      if (nextSeat === 0) return this.#close(round, closeUs, false);
      place = nextSeat;
    }
    const firstUs = closeUs + this.#rounds.tripUs;
    for (let lookUs = firstUs; lookUs < firstUs + clocksDifferUs; lookUs += lookAgainUs) {
      await this.#sleep(lookUs);
      if (await this.#look(round)) return;
    }
    // Workers far behind the last seat wait longer, for a random time, and read once more: few close it at the same moment.
    const turn = place < steps ? place : steps * (1 + this.#options.random());
    await this.#sleep(this.#nowUs + Math.min(turn * Math.max(stepUs, 2 * this.#rounds.tripUs), longestSleepUs));
    if (!(await this.#look(round))) await this.#close(round, this.#nowUs, false);
  }

  /** Reads the newest round; true if it is another one. */
  async #look(round: SlotRound): Promise<boolean> {
    this.#learn(await this.#rounds.read());
    return this.#round?.number !== round.number;
  }

  async #close(round: SlotRound, atUs: number, self: boolean): Promise<void> {
    await this.#sleep(atUs - 2 * this.#rounds.tripUs - lookAgainUs);
    await this.#options.rate.refresh(Math.max(0, rateAgeMs - (round.endUs - round.startUs) / 2_000));
    await this.#sleep(atUs);
    if (this.#slotUs === 0) return;
    const next = toNextRound(round, this.#slotUs, this.#nowUs, this.#rounds.tripUs);
    const { written, table } = await this.#rounds.close(round, next, self);
    if (table && written && self) this.#nextSeat = table.round.seats - 1;
    this.#learn(table);
  }

  /** Opens a round when the next slot is due, unless somebody else has. */
  async #open(): Promise<void> {
    const { rate, random } = this.#options;
    await rate.refresh();
    if (this.#slotUs === 0) return;
    if (await this.#restsUntil(this.#round, longestOpenUs)) return;
    this.#learn(await this.#rounds.read());
    const last = this.#round;
    if (last && isLost(last, this.#nowUs)) {
      if (!(await this.#isAbandoned(last))) return;
    } else if (last) {
      if (this.#nowUs < last.endUs || nextSlotUs(last, this.#slotUs) <= this.#nowUs) return;
      // At different times, so that one worker opens the round before the others do.
      if (await this.#restsUntil(last, Math.min(longestOpenUs, this.#slotUs / 8) * random())) return;
    }
    // The rate may have lost its limit meanwhile.
    if (this.#slotUs === 0) return;
    const next = toOpenedRound(last, this.#slotUs, this.#nowUs, this.#rounds.tripUs);
    const { written, table: newest } = await this.#rounds.open(last, next);
    this.#learn(newest);
    if (newest && written) this.#sit(newest.round, 0);
  }

  /** Sleeps for a while and returns true if the slot after the round is due later than `aheadUs` from now. */
  async #restsUntil(round: SlotRound | undefined, aheadUs: number): Promise<boolean> {
    const nowUs = this.#nowUs;
    if (!round || isLost(round, nowUs)) return false;
    const untilUs = nextSlotUs(round, this.#slotUs) - aheadUs;
    if (untilUs <= nowUs) return false;
    await this.#sleep(Math.min(untilUs, nowUs + longestSleepUs));
    return true;
  }

  /** Whether a round that starts too far ahead was left behind: nobody has closed it for longer than a round takes. */
  async #isAbandoned({ number, startUs, endUs }: SlotRound): Promise<boolean> {
    const nowUs = this.#nowUs;
    if (this.#lost && number !== this.#lost.number) {
      const seconds = ((startUs - nowUs) / 1e6).toFixed(1);
      const text = `another worker's clock is ${seconds} s ahead of this one: set the clocks of all machines`;
      this.#waiters.reject(new StateError(text));
    }
    // The clock may have been set back once more.
    if (number !== this.#lost?.number || nowUs < this.#lost.sinceUs) this.#lost = { number, sinceUs: nowUs };
    if (nowUs - this.#lost.sinceUs >= endUs - startUs + longestSleepUs) return true;
    await this.#sleep(nowUs + firstRetryUs);
    return false;
  }

  /** Notes a newer round. The seat that was taken after the known round is in the round that follows it, and in no other. */
  #learn(table: RoundTable | undefined): void {
    const round = table?.round;
    const known = this.#round;
    if (round && round.number === known?.number) return;
    const seat = round && known && round.number === known.number + 1 ? this.#nextSeat : undefined;
    if (known && (!round || round.firstSlot < known.firstSlot)) this.#slots.clear();
    this.#round = round;
    this.#seat = undefined;
    this.#nextSeat = undefined;
    if (round && seat !== undefined && seat < round.seats) this.#sit(round, seat);
  }

  #sit(round: SlotRound, seat: number): void {
    this.#lost = undefined;
    this.#seat = seat;
    this.#slots.add({ round, seat });
    this.#waiters.resolve();
  }

  /** Throws `setBack` if no step waits that long. Keeps the process alive only for a caller. */
  async #sleep(untilUs: number): Promise<void> {
    const endUs = this.#round && !isLost(this.#round, this.#nowUs) ? this.#round.endUs : 0;
    if (untilUs > Math.max(this.#nowUs, endUs) + longestSleepUs) throw setBack;
    await this.#options.clock.sleepUntil(untilUs, this.#callers > 0 ? never : undefined);
  }
}

const never = new AbortController().signal;

/** Thrown where a step waits for a time that the clock, which was set back, may reach only hours later. */
const setBack = new Error("the clock was set back");
