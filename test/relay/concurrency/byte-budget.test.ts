import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteBudget, type Release } from "../../../relay/concurrency/byte-budget.ts";

const forever = new AbortController().signal;

describe("a budget of bytes", () => {
  it("is shared: takers wait until there is room, and an account that holds nothing never waits", async () => {
    const budget = new ByteBudget(100);
    const [paused, busy] = [budget.accountOf("paused"), budget.accountOf("busy")];
    const large = await paused.take(90, forever);
    const first = await busy.take(60, forever);
    let entered = false;
    const second = busy.take(20, forever).then((release) => {
      entered = true;
      return release;
    });
    await turn();
    const before = [entered, budget.heldBytes];
    first();
    (await second)();
    large();

    expect(before).toEqual([false, 150]);
    expect(budget.heldBytes).toBe(0);
  });

  it("passes a taking larger than the whole budget, alone in its account", async () => {
    const account = new ByteBudget(10).accountOf("a");
    const release = await account.take(1_000, forever);

    expect(account.tryTake(1)).toBeUndefined();
    release();
    release();
    expect(account.tryTake(1)).toBeDefined();
  });

  it("lets those behind a taker in that gave up", async () => {
    const account = new ByteBudget(10).accountOf("a");
    await account.take(5, forever);
    const stop = new AbortController();
    const givenUp = expect(account.take(9, stop.signal)).rejects.toThrow("enough");
    const next = account.take(5, forever);
    stop.abort(new Error("enough"));
    await givenUp;

    await expect(next).resolves.toBeTypeOf("function");
    await expect(account.take(1, stop.signal)).rejects.toThrow("enough");
  });

  it("holds what is allowed and admits whoever may enter, in any order of takings, releases and aborts", async () => {
    const step = fc.record({
      what: fc.constantFrom("take", "take", "release", "abort"),
      user: fc.nat(3),
      bytes: fc.integer({ min: 1, max: 120 }),
      which: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const budget = new ByteBudget(100);
        const takers: Taker[] = [];
        for (const { what, user, bytes, which } of steps) {
          const waiting = takers.filter(({ state }) => state === "waits");
          const holding = takers.filter(({ state }) => state === "holds");
          if (what === "take") takers.push(new Taker(budget, user, bytes));
          if (what === "release" && holding.length > 0) holding[which % holding.length].release();
          if (what === "abort" && waiting.length > 0) waiting[which % waiting.length].abort();
          await turn();
          check(budget, takers);
        }
      }),
      { numRuns: 60 },
    );
  });
});

class Taker {
  readonly user: number;
  readonly bytes: number;
  state: "waits" | "holds" | "left" = "waits";
  readonly #stop = new AbortController();
  #release: Release = () => {};

  constructor(budget: ByteBudget, user: number, bytes: number) {
    this.user = user;
    this.bytes = bytes;
    budget
      .accountOf(`${user}`)
      .take(bytes, this.#stop.signal)
      .then((release) => {
        this.state = "holds";
        this.#release = release;
      })
      .catch(() => {
        this.state = "left";
      });
  }

  release(): void {
    this.state = "left";
    this.#release();
  }

  abort(): void {
    this.#stop.abort();
  }
}

function check(budget: ByteBudget, takers: readonly Taker[]): void {
  const sum = (of: readonly Taker[]) => of.reduce((total, { bytes }) => total + bytes, 0);
  const held = takers.filter(({ state }) => state === "holds");
  expect(budget.heldBytes).toBe(sum(held));
  // One taking of each account, the largest at worst, may be beyond the limit.
  const largest = [0, 1, 2, 3].map((user) =>
    Math.max(0, ...held.filter((one) => one.user === user).map(({ bytes }) => bytes)),
  );
  expect(budget.heldBytes).toBeLessThanOrEqual(100 + largest.reduce((a, b) => a + b, 0));
  for (const user of [0, 1, 2, 3]) {
    const own = takers.filter((one) => one.user === user && one.state !== "left");
    const [next] = own.filter(({ state }) => state === "waits");
    if (!next) continue;
    expect(own.some(({ state }) => state === "holds")).toBe(true);
    expect(sum(held) + next.bytes).toBeGreaterThan(100);
    // In the order of their calls.
    expect(own.slice(own.indexOf(next)).every(({ state }) => state === "waits")).toBe(true);
  }
}
