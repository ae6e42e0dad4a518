import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FigureBook } from "../../../relay/replay/figure-book.ts";
import { maxRelativeError, percentiles } from "../../../relay/replay/latency-histogram.ts";
import { type Figures, StateError } from "../../../relay/state/port.ts";
import { openState } from "../../support/data/lanes.ts";

const minuteMs = Date.parse("2026-03-01T12:00:00Z");

describe("FigureBook", () => {
  it("counts the age of requests, the connect time, the time to the first byte and the latency in separate series", async () => {
    const state = openState();
    const book = new FigureBook("staging", state.figures, () => minuteMs + 5);
    book.countAnswer(86_400_000, { connectMs: 3, firstByteMs: 40, totalMs: 100 });
    book.countAnswer(86_400_000, { firstByteMs: 40, totalMs: 100 });
    await book.flush();

    const [{ counts }] = await state.figures.read("staging", minuteMs, minuteMs + 1);
    for (const [series, ms] of [
      ["age", 86_400_000],
      ["connect", 3],
      ["firstByte", 40],
      ["latency", 100],
    ] as const) {
      const [p50 = Number.NaN] = percentiles(counts, [0.5], series);
      expect(Math.abs(p50 / ms - 1)).toBeLessThanOrEqual(maxRelativeError);
    }
    expect([...counts.values()].sort()).toEqual([1, 2, 2, 2]);
  });

  it("adds many counters in portions that every state accepts, and keeps those that were refused", async () => {
    const taken: number[] = [];
    let working = true;
    const figures: Pick<Figures, "add"> = {
      async add(_target, _minute, counts) {
        if (!working) throw new StateError("away");
        taken.push(counts.size);
        working = false;
      },
    };
    const book = new FigureBook("staging", figures as Figures, () => minuteMs);
    for (let i = 0; i < 160; i++) book.countAnswer(1.2 ** i, { firstByteMs: 1.11 ** i, totalMs: 1.11 ** i });
    for (let i = 0; i < 10; i++) {
      await book.flush();
      working = true;
    }

    expect(taken.length).toBeGreaterThan(1);
    expect(Math.max(...taken)).toBe(200);
    expect(taken.slice(0, -1).every((size) => size === 200)).toBe(true);
  });

  it("counts each request once, however often the state counts and then fails to answer", async () => {
    const calls = fc.array(fc.constantFrom("answers", "refuses", "loses the answer"), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(calls, fc.array(fc.integer({ min: 1, max: 500 }), { maxLength: 12 }), async (fates, batches) => {
        const left = [...fates];
        const made = new Map<string, number>();
        const lastPart = new Map<number, number>();
        const figures: Pick<Figures, "add"> = {
          async add(_target, minute, counts, part = { writer: "", number: 0 }) {
            const fate = left.shift() ?? "answers";
            if (fate === "refuses") throw new StateError("away");
            if (part.number > (lastPart.get(minute) ?? 0)) {
              lastPart.set(minute, part.number);
              for (const [name, count] of counts) made.set(name, (made.get(name) ?? 0) + count);
            }
            if (fate === "loses the answer") throw new StateError("away");
          },
        };
        let nowMs = minuteMs;
        const book = new FigureBook("staging", figures, () => nowMs);
        const counted = new Map<string, number>();
        for (const [i, batch] of batches.entries()) {
          for (let name = 0; name < batch; name++) {
            book.count(`f${name}` as "skipped", i + 1);
            counted.set(`f${name}`, (counted.get(`f${name}`) ?? 0) + i + 1);
          }
          nowMs += 40_000;
          await Promise.all([book.flush(), book.flush()]);
        }
        for (let i = 0; i < 41; i++) await book.flush();

        expect(made).toEqual(counted);
      }),
    );
  });
});
