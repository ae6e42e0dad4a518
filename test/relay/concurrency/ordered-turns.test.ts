import { setImmediate as turn } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { OrderedTurns } from "../../../relay/concurrency/ordered-turns.ts";

const { signal } = new AbortController();

it("runs the tasks of one name one after the other, and those of other names concurrently", async () => {
  const bench = new Bench();
  const first = bench.run("a", 1);
  bench.run("a", 2);
  bench.run("b", 3);
  await turn();
  const atFirst = [...bench.begun];
  first.end();
  await turn();

  expect(atFirst).toEqual([1, 3]);
  expect(bench.begun).toEqual([1, 3, 2]);
});

it("starts no task before a waiting one with a smaller place", async () => {
  const bench = new Bench();
  const ready = new Map([5, 1, 3, 4].map((place) => [place, Promise.withResolvers<void>()]));
  for (const [place, { promise }] of ready) bench.run("a", place, promise).end();
  // Like timers that are all due when a stalled machine continues.
  for (const place of [5, 4, 3]) ready.get(place)?.resolve();
  await turn();
  const before = [...bench.begun];
  ready.get(1)?.resolve();
  await turn();

  expect(before).toEqual([]);
  expect(bench.begun).toEqual([1, 3, 4, 5]);
});

it("runs a task that arrives after one with a larger place", async () => {
  const bench = new Bench();
  const second = bench.run("a", 2);
  await turn();
  bench.run("a", 1);
  second.end();
  await turn();

  expect(bench.begun).toEqual([2, 1]);
});

it("starts no task after the signal is aborted", async () => {
  const turns = new OrderedTurns();
  const stop = new AbortController();
  const ready = new Promise<void>((resolve) => stop.signal.addEventListener("abort", () => resolve()));
  const tasks = [1, 2].map((place) => turns.run("a", { place, ready }, stop.signal, async () => {}));
  stop.abort(new Error("over"));

  expect(await Promise.allSettled(tasks)).toMatchObject(
    Array(2).fill({ status: "rejected", reason: stop.signal.reason }),
  );
});

/** Runs tasks that record their places when they start and last until `end`. */
class Bench {
  readonly begun: number[] = [];
  readonly #turns = new OrderedTurns();

  run(name: string, place: number, ready = Promise.resolve()): { readonly end: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ended = this.#turns.run(name, { place, ready }, signal, () => {
      this.begun.push(place);
      return promise;
    });
    onTestFinished(async () => {
      resolve();
      await ended;
    });
    return { end: resolve };
  }
}
