import { setImmediate as nextRound } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Turns } from "../../../agent/listener/turns.ts";

function block(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

describe("turns", () => {
  it("do one long piece of work in a round of the event loop, and the others in the next rounds, in order", async () => {
    const turns = new Turns();
    const done: number[] = [];
    const perRound: number[] = [];
    turns.spend(() => block(2));
    expect(turns.taken).toBe(true);
    for (let i = 0; i < 5; i++) {
      turns.wait(() => {
        block(2);
        done.push(i);
      });
    }

    while (done.length < 5) {
      const before = done.length;
      await nextRound();
      perRound.push(done.length - before);
    }
    await nextRound();

    expect(done).toEqual([0, 1, 2, 3, 4]);
    expect(Math.max(...perRound)).toBe(1);
    expect(turns.taken).toBe(false);
  });

  it("do nothing that was forgotten, and everything that waits when they finish", async () => {
    const turns = new Turns();
    const done: string[] = [];
    const [a, b] = ["a", "b"].map((name) => () => void done.push(name));
    turns.wait(a);
    turns.wait(b);

    turns.forget(a);
    turns.finish();
    await nextRound();

    expect(done).toEqual(["b"]);
  });
});
