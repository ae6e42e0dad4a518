import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bounds } from "../../../relay/config/bounds.ts";
import { DealtSlots } from "../../../relay/replay/dealt-slots.ts";
import type { SlotRound } from "../../../relay/state/slot-round.ts";

const startUs = 1_790_000_000_000_000;
const { least, most } = bounds.ratePerSecond;
const anyRate = fc.double({ min: Math.log(least), max: Math.log(most), noNaN: true }).map(Math.exp);

describe("DealtSlots", () => {
  it("gives out the slots of its seats as a model does that looks at one slot after the other", () => {
    // Powers of two, so that the parts that the model adds up are exact.
    const distance = fc.integer({ min: 10, max: 17 }).map((power) => 2 ** power);
    const call = fc.record({ forwardUs: fc.nat(200_000), slotUs: distance });
    const round = fc.record({ slotUs: distance, seats: fc.integer({ min: 1, max: 5 }), lengthUs: fc.nat(1_000_000) });
    fc.assert(
      fc.property(
        fc.array(round, { minLength: 1, maxLength: 4 }),
        fc.nat(4),
        fc.array(call, { maxLength: 60 }),
        (shapes, seat, calls) => {
          const slots = new DealtSlots();
          const own: OwnSlot[] = [];
          let [atUs, firstSlot] = [startUs, 0];
          for (const [i, { slotUs, seats, lengthUs }] of shapes.entries()) {
            const round = roundOf({ number: i, startUs: atUs, lengthUs, slotUs, seats, firstSlot });
            slots.add({ round, seat: seat % seats });
            for (let dueUs = atUs; dueUs < atUs + lengthUs; dueUs += slotUs) {
              if (firstSlot % seats === seat % seats) own.push({ dueUs, slotUs });
              firstSlot++;
            }
            atUs += lengthUs;
          }
          const model = createModel(own);
          let nowUs = startUs;
          for (const { forwardUs, slotUs } of calls) {
            nowUs += forwardUs;
            expect(slots.take(nowUs, slotUs)).toBe(model(nowUs, slotUs));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("takes few steps at any rate, whatever the rate was when the round was closed, and keeps the lower one", () => {
    fc.assert(
      fc.property(anyRate, anyRate, fc.integer({ min: 1, max: 500 }), (closedAt, rate, seats) => {
        let steps = 0;
        const round = counting(
          roundOf({ number: 1, startUs, lengthUs: 10_000_000, slotUs: 1e6 / closedAt, seats, firstSlot: 0 }),
          () => steps++,
        );
        const slots = new DealtSlots();
        slots.add({ round, seat: seats - 1 });
        const dues: number[] = [];
        for (let calls = 0; calls < 50; calls++) {
          steps = 0;
          const dueUs = slots.take(startUs, 1e6 / rate);
          if (calls > 0 || dueUs === undefined) expect(steps).toBeLessThan(60);
          if (dueUs === undefined) break;
          dues.push(dueUs);
        }
        const ownUs = seats * Math.max(1e6 / closedAt, 1e6 / (rate * 1.15));
        for (let i = 2; i < dues.length; i++) {
          expect(dues[i] - dues[0]).toBeGreaterThan((i - 1) * ownUs * (1 - 1e-6) - 1);
        }
      }),
      { numRuns: 300 },
    );
  });
});

interface OwnSlot {
  readonly dueUs: number;
  readonly slotUs: number;
}

/** Looks at one own slot after the other: those that are more than 50 ms late are given up, and of the others a part is used. */
function createModel(own: readonly OwnSlot[]): (nowUs: number, slotUs: number) => number | undefined {
  let [next, part] = [0, 0];
  return (nowUs, slotUs) => {
    while (next < own.length) {
      const { dueUs, slotUs: roundUs } = own[next++];
      if (dueUs < nowUs - 50_000) continue;
      part += slotUs > 1.15 * roundUs ? roundUs / slotUs : 1;
      if (part < 1) continue;
      part -= 1;
      return dueUs;
    }
    return undefined;
  };
}

function roundOf(shape: {
  readonly number: number;
  readonly startUs: number;
  readonly lengthUs: number;
  readonly slotUs: number;
  readonly seats: number;
  readonly firstSlot: number;
}): SlotRound {
  const { lengthUs, ...round } = shape;
  const endUs = round.startUs + lengthUs;
  // Rounds that are closed so early are known long before they start.
  return { ...round, endUs, closeUs: endUs - 3_000_000, firstUs: round.startUs };
}

/** The same object; each look at one of its fields is a step. */
function counting<T extends object>(whole: T, step: () => void): T {
  return new Proxy(whole, {
    get: (object, key) => {
      step();
      return Reflect.get(object, key);
    },
  });
}
