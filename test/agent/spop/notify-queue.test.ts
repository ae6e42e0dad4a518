import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NotifyQueue } from "../../../agent/spop/notify-queue.ts";

/** A chunk with some NOTIFYs, or a turn in which so many are taken at most. */
const step = fc.oneof(
  fc.record({ notifies: fc.integer({ min: 1, max: 4 }), bytes: fc.nat(50) }),
  fc.record({ most: fc.integer({ min: 1, max: 5 }) }),
);

describe("NotifyQueue", () => {
  it("passes on each NOTIFY once and in order, and counts the chunks that it keeps", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const queue = new NotifyQueue();
        const waiting: { readonly number: number; readonly chunk: Uint8Array }[] = [];
        let number = 0;
        for (const step of steps) {
          if ("most" in step) {
            const taken: number[] = [];
            let left = step.most;
            if (queue.length === 0) continue;
            queue.take(
              (bytes, start, end, peerFrameBytes) => {
                expect([end, peerFrameBytes]).toEqual([start + 1, 16_380]);
                expect(bytes).toBe(waiting[taken.length].chunk);
                taken.push(start);
              },
              16_380,
              () => --left > 0,
            );
            expect(taken).toEqual(waiting.splice(0, step.most).map((notify) => notify.number));
          } else {
            const chunk = new Uint8Array(step.bytes);
            for (let i = 0; i < step.notifies; i++, number++) {
              queue.push(chunk, number, number + 1);
              waiting.push({ number, chunk });
            }
          }
          const chunks = new Set(waiting.map(({ chunk }) => chunk));
          expect(queue.length).toBe(waiting.length);
          expect(queue.heldBytes).toBe([...chunks].reduce((sum, { length }) => sum + length, 0));
        }
      }),
    );
  });
});
