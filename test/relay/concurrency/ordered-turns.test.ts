import { setImmediate as turn } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { NamedTurns } from "../../../relay/concurrency/ordered-turns.ts";

const { signal } = new AbortController();

it("runs the tasks of one name one after the other, and those of others side by side", async () => {
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

it("lets no task begin before one with an earlier place that is not ready", async () => {
  const bench = new Bench();
  const ready = new Map([5, 1, 3, 4].map((place) => [place, Promise.withResolvers<void>()]));
  for (const [place, { promise }] of ready) bench.run("a", place, promise).end();
  // As timers that are all due when a machine goes on that stood still.
  for (const place of [5, 4, 3]) ready.get(place)?.resolve();
  await turn();
  const before = [...bench.begun];
  ready.get(1)?.resolve();
  await turn();

  expect(before).toEqual([]);
  expect(bench.begun).toEqual([1, 3, 4, 5]);
});

it("lets a task begin that comes later than it is placed", async () => {
  const bench = new Bench();
  const second = bench.run("a", 2);
  await turn();
  bench.run("a", 1);
  second.end();
  await turn();

  expect(bench.begun).toEqual([2, 1]);
});

it("begins nothing once the signal is raised", async () => {
  const turns = new NamedTurns();
  const stop = new AbortController();
  const ready = new Promise<void>((resolve) => stop.signal.addEventListener("abort", () => resolve()));
  const tasks = [1, 2].map((place) => turns.run("a", { place, ready }, stop.signal, async () => {}));
  stop.abort(new Error("over"));

  expect(await Promise.allSettled(tasks)).toMatchObject(
    Array(2).fill({ status: "rejected", reason: stop.signal.reason }),
  );
});

/** Tasks that note their places when they begin, and last until they are told to end. */
class Bench {
  readonly begun: number[] = [];
  readonly #turns = new NamedTurns();

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
