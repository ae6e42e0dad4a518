import { setImmediate as nextRound } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Task, Turns } from "../../../agent/listener/turns.ts";
import { until } from "../../support/clocks/until.ts";

function block(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

/** A task of `pieces` pieces, each of which adds the name to `done`. */
function createTask(owner: string, pieces: number, done: string[], piece: () => void, name = owner): Task {
  let left = pieces;
  return {
    owner,
    work(hasTime) {
      do {
        piece();
        done.push(name);
        left--;
      } while (left > 0 && hasTime());
      return left > 0;
    },
  };
}

describe("turns", () => {
  it("do one long piece of work in a round of the event loop, and the others in the next rounds, in order", async () => {
    const turns = new Turns();
    const done: string[] = [];
    const perRound: number[] = [];
    const long = () => block(2);
    for (let i = 0; i < 6; i++) turns.begin(createTask(`${i}`, 1, done, long));
    expect(done).toEqual(["0"]);

    while (done.length < 6) {
      const before = done.length;
      await nextRound();
      perRound.push(done.length - before);
    }

    expect(done).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(Math.max(...perRound)).toBe(1);
    await until(() => {
      turns.begin(createTask("last", 1, done, () => {}));
      return done.at(-1) === "last";
    });
  });

  it("give an owner with one task as many as an owner with a hundred", async () => {
    const turns = new Turns();
    const done: string[] = [];
    const long = () => block(1);
    turns.begin(createTask("other", 1, [], long));
    for (let i = 0; i < 100; i++) turns.begin(createTask("flood", 1, done, long));
    turns.begin(createTask("haproxy", 3, done, long));

    await until(() => done.filter((name) => name === "haproxy").length === 3);

    expect(done.slice(0, 6)).toEqual(["flood", "haproxy", "flood", "haproxy", "flood", "haproxy"]);
    turns.finish();
  });

  it("do every piece once, and the tasks of an owner and owners round robin", async () => {
    const owners = fc.array(fc.record({ owner: fc.nat(4), pieces: fc.integer({ min: 1, max: 3 }) }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(owners, async (tasks) => {
        const turns = new Turns();
        const done: string[] = [];
        // The round has no time left: each turn is one piece.
        turns.begin(createTask("before", 1, [], () => block(1.1)));
        const long = () => block(1.1);
        for (const [i, { owner, pieces }] of tasks.entries()) {
          turns.begin(createTask(`${owner}`, pieces, done, long, `${owner} ${i}`));
        }
        await until(() => done.length === tasks.reduce((sum, { pieces }) => sum + pieces, 0));

        // The model: owners in the order in which they came, each with a list of tasks; both rotate.
        const queue: { owner: number; list: { i: number; pieces: number }[] }[] = [];
        for (const [i, { owner, pieces }] of tasks.entries()) {
          const place = queue.find((entry) => entry.owner === owner);
          if (place) place.list.push({ i, pieces });
          else queue.push({ owner, list: [{ i, pieces }] });
        }
        const expected: string[] = [];
        for (let entry = queue.shift(); entry; entry = queue.shift()) {
          const [{ i, pieces }, ...rest] = entry.list;
          expected.push(`${entry.owner} ${i}`);
          const list = pieces > 1 ? [...rest, { i, pieces: pieces - 1 }] : rest;
          if (list.length > 0) queue.push({ owner: entry.owner, list });
        }
        expect(done).toEqual(expected);
      }),
      { numRuns: 8 },
    );
  });

  it("do nothing that was forgotten, and everything that waits when they finish", async () => {
    const turns = new Turns();
    const done: string[] = [];
    turns.begin(createTask("before", 1, [], () => block(2)));
    const [a, b] = ["a", "b"].map((name) => createTask(name, 3, done, () => {}));
    turns.begin(a);
    turns.begin(b);

    turns.forget(a);
    turns.finish();
    await nextRound();

    expect(done).toEqual(["b", "b", "b"]);
  });
});
