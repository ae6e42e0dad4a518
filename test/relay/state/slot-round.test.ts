import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  enteringUs,
  isLost,
  laterSlot,
  nextSlotUs,
  type SlotRound,
  slotOf,
  slotsFrom,
  toNextRound,
  toOpenedRound,
} from "../../../relay/state/slot-round.ts";

const startUs = 1_790_000_000_000_000;

/** What happens after a round: workers close it in time, late, or open a new one after a pause. */
const step = fc.record({
  kind: fc.constantFrom("closed", "closed late", "opened"),
  lateUs: fc.integer({ min: 0, max: 3_000_000 }),
  ratePerSecond: fc.oneof(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: 0.003, max: 5, noNaN: true })),
  seats: fc.integer({ min: 1, max: 12 }),
});

describe("slot rounds", () => {
  it("give each slot to one seat, and keep all slots one distance apart, whatever happens", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        let round: SlotRound = toOpenedRound(undefined, 1e6 / steps[0].ratePerSecond, startUs, 0);
        let lastUs = Number.NEGATIVE_INFINITY;
        let lastSlot = -1;
        for (const { kind, lateUs, ratePerSecond, seats } of steps) {
          const slots = Array.from({ length: round.seats }, (_, seat) => slotsOf(round, seat)).flat();
          slots.sort((a, b) => a.dueUs - b.dueUs);
          for (const { slot, dueUs } of slots) {
            const twice = slot <= lastSlot;
            const outside = dueUs < round.startUs || dueUs >= round.endUs;
            // At the rate of the round that the slot is in, to a fraction of a microsecond.
            const early = dueUs - lastUs <= round.slotUs - 0.5;
            if (twice || outside || early)
              throw new Error(JSON.stringify({ twice, outside, early, slot, dueUs, round }));
            lastSlot = slot;
            lastUs = dueUs;
          }
          const slotUs = 1e6 / ratePerSecond;
          const nowUs = round.endUs + (kind === "closed" ? -200_000 : lateUs);
          if (kind === "opened") {
            round = toOpenedRound(round, slotUs, nowUs, 0);
          } else {
            round = { ...toNextRound(round, slotUs, nowUs, 0), seats };
          }
          expect(round.startUs).toBeGreaterThanOrEqual(nowUs);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("lose no slot while workers close them in time at an unchanged rate", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3_000 }), fc.integer({ min: 1, max: 20 }), (rate, seats) => {
        let round = toOpenedRound(undefined, 1e6 / rate, startUs, 0);
        let slots = slotsOf(round, 0).length;
        for (let i = 0; i < 10; i++) {
          round = { ...toNextRound(round, 1e6 / rate, 0, 0), seats };
          for (let seat = 0; seat < seats; seat++) slots += slotsOf(round, seat).length;
        }
        expect(Math.abs(slots - ((round.endUs - startUs) * rate) / 1e6)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 60 },
    );
  });

  it("spread the slots of a seat evenly, also from one round to the next", () => {
    const first: SlotRound = { ...toNextRound(toOpenedRound(undefined, 100_000, startUs, 0), 100_000, 0, 0), seats: 7 };
    const second: SlotRound = { ...toNextRound(first, 100_000, 0, 0), seats: 7 };

    for (let seat = 0; seat < 7; seat++) {
      const due = [...slotsOf(first, seat), ...slotsOf(second, seat)].map(({ dueUs }) => dueUs);
      for (let i = 1; i < due.length; i++) expect(due[i] - due[i - 1]).toBe(700_000);
    }
  });

  it("have no slot that is due at their end: it belongs to the next round", () => {
    const round = toOpenedRound(undefined, 100_000, startUs, 0);
    const whole = { ...round, firstUs: startUs, endUs: startUs + 1_000_000, seats: 2 };
    const first = { slot: round.firstSlot, dueUs: startUs };

    expect(laterSlot({ round: whole, seat: 0 }, first, 4)?.dueUs).toBe(startUs + 800_000);
    expect(laterSlot({ round: whole, seat: 0 }, first, 5)).toBeUndefined();
    expect(slotOf({ round: whole, seat: 0 }, startUs + 900_000, -1)).toBeUndefined();
    expect(slotsFrom({ round: whole, seat: 0 }, first)).toBe(5);
  });

  it("start after a pause without making up for it, and no earlier than a slow rate allows", () => {
    const round = toOpenedRound(undefined, 100_000, startUs, 0);
    const later = toOpenedRound(round, 100_000, startUs + 60_000_000, 0);
    const slow = toOpenedRound(round, 90_000_000, startUs + 60_000_000, 0);

    expect(slotOf({ round: later, seat: 0 }, 0, -1)?.dueUs).toBe(startUs + 60_000_000);
    expect(nextSlotUs(round, 90_000_000)).toBe(startUs + 600_000 + 90_000_000);
    expect(slow.firstUs).toBe(startUs + 600_000 + 90_000_000);
  });

  it("void the seats taken in a round that nobody closed: numbers skip one", () => {
    const round = toOpenedRound(undefined, 100_000, startUs, 0);

    expect(toNextRound(round, 100_000, 0, 0).number).toBe(round.number + 1);
    expect(toOpenedRound(round, 100_000, startUs + 5e6, 0).number).toBe(round.number + 2);
  });

  it("are lost if they start further ahead than any worker closes them", () => {
    const round = toOpenedRound(undefined, 100_000, startUs, 0);
    const next = { ...toNextRound(round, 100_000, 0, 0), seats: 1 };

    expect(isLost(next, round.closeUs)).toBe(false);
    expect(isLost(next, startUs - 3_600_000_000)).toBe(true);
    expect(toOpenedRound(next, 100_000, startUs - 3_600_000_000, 0).startUs).toBe(startUs - 3_600_000_000);
  });

  it("are entered in the order of the seats, before they are closed", () => {
    const round: SlotRound = {
      ...toNextRound(toOpenedRound(undefined, 100_000, startUs, 0), 100_000, 0, 0),
      seats: 40,
    };
    const times = Array.from({ length: 39 }, (_, seat) => enteringUs({ round, seat }, 6_000));

    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times[0]).toBeGreaterThan(round.startUs);
    expect(times[38]).toBeLessThan(round.closeUs - 50_000);
  });
});

function slotsOf(round: SlotRound, seat: number) {
  const slots = [];
  for (let slot = slotOf({ round, seat }, 0, -1); slot; slot = slotOf({ round, seat }, 0, slot.slot)) slots.push(slot);
  return slots;
}
