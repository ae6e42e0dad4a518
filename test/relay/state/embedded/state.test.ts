import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../../../relay/state/fate-sheet.ts";
import { slotsPerLease } from "../../../../relay/state/slot-lease.ts";
import { describeJobs } from "../../../contract/job-contract.ts";
import { describeSharedState } from "../../../contract/shared-state-contract.ts";
import { describeState, fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import { ChildScript } from "../../../support/processes/child-script.ts";

const root = mkdtempSync(join(tmpdir(), "embedded-state-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describeState("EmbeddedState", async () => {
  const state = EmbeddedState.open(newDirectory());
  return { leases: state.leases, ledger: state.ledger, close: () => state.close() };
});

describeSharedState("EmbeddedState", async () => {
  const directory = newDirectory();
  const [one, other] = [EmbeddedState.open(directory), EmbeddedState.open(directory)];
  return {
    one,
    other,
    close() {
      one.close();
      other.close();
    },
  };
});

describeJobs("EmbeddedState", async () => {
  const directory = newDirectory();
  let nowMs = 0;
  const [one, other] = [EmbeddedState.open(directory, () => nowMs), EmbeddedState.open(directory, () => nowMs)];
  return {
    one,
    other,
    setNow(ms) {
      nowMs = ms;
    },
    close() {
      one.close();
      other.close();
    },
  };
});

describe("EmbeddedState: slot leases", () => {
  // 333,333.3… µs cannot be stored in whole µs: a store that rounds each lease drifts and sends too fast.
  it.each([
    ["3/s", 3, 1],
    ["7/s", 7, 1],
    ["1000/s", 1_000, 1],
    ["30/min", 30, 60],
  ])("are on the exact grid of %s as long as the target is busy", { timeout: 20_000 }, async (_, count, seconds) => {
    const sizes = fc.array(fc.integer({ min: 1, max: 2 * slotsPerLease((1e6 * seconds) / count) }), {
      minLength: 500,
      maxLength: 500,
    });
    const anchors = fc.integer({ min: 1_700_000_000_000_000, max: 1_900_000_000_000_000 });
    await fc.assert(
      fc.asyncProperty(anchors, sizes, async (anchorUs, leaseSizes) => {
        const state = open();
        // The reference: slot number n is due at the anchor plus n * seconds / count, in exact fractions.
        let given = 0n;
        for (const slots of leaseSizes) {
          const dueUs = BigInt(anchorUs) + (given * 1_000_000n * BigInt(seconds)) / BigInt(count);
          const request = { nowUs: Number(dueUs), slotUs: (1e6 * seconds) / count, slots };
          const grant = await state.leases.take("a", request);
          if (!grant.granted) throw new Error("refused");
          if (Math.abs(grant.startUs - Number(dueUs)) > 1)
            throw new Error(`slot ${given}: ${grant.startUs}, not ${dueUs}`);
          given += BigInt(slots);
        }
        state.close();
      }),
      { numRuns: 4 },
    );
  });

  it("never exceed the rate in any window, however many processes lease", async () => {
    const directory = newDirectory();
    const slotUs = 1e6 / 700;
    const args = [directory, "a", String(slotUs), "7", "50"];
    const leasers = Array.from({ length: 6 }, () => new ChildScript("slot-leaser.ts", args));
    for (const leaser of leasers) await leaser.printed(1);
    for (const leaser of leasers) leaser.start();
    for (const leaser of leasers) await leaser.exited();

    const starts = leasers.map(({ lines }) => lines.slice(1).map(Number));
    const slots = starts.flat().flatMap((startUs) => Array.from({ length: 7 }, (_, k) => startUs + k * slotUs));
    slots.sort((a, b) => a - b);
    expect(starts.map(({ length }) => length)).toEqual(leasers.map(() => 50));
    expect(worstExcess(slots, slotUs)).toBeLessThanOrEqual(1);
  });
});

describe("EmbeddedState: a lease that waited for the file", () => {
  it("is refused to a request that waited so long that it would reset the newer leases of others", async () => {
    const nowUs = 1_790_000_000_000_000;
    const request = { nowUs, slotUs: 1_000, slots: 10 };
    let nowMs = nowUs / 1_000;
    let waitMs = 1_100;
    const state = open(newDirectory(), () => {
      nowMs += waitMs;
      return nowMs;
    });
    await state.leases.take("a", { nowUs: nowUs + 1_100_000, slotUs: 1_000, slots: 2_100 });

    const waited = await state.leases.take("a", request);
    waitMs = 0;

    expect(waited).toEqual({ granted: false, retryAtUs: nowUs });
    expect(await state.leases.take("a", request)).toEqual({ granted: true, startUs: nowUs });
  });
});

describe("EmbeddedState: ledger", () => {
  it("keeps everything when the file is opened again", async () => {
    const directory = newDirectory();
    const before = open(directory);
    await before.ledger.recordFanOut(fannedOut({ requests: 3 }));
    await before.ledger.settle("a", "p1", settlement({ 1: "answered.2xx" }));
    await before.leases.take("a", { nowUs: 1_000, slotUs: 1e6 / 3, slots: 1 });
    const totals = await before.ledger.totals();
    before.close();

    const after = open(directory);

    expect(await after.ledger.totals()).toEqual(totals);
    expect(settledIndexes(await after.ledger.sheet("a", "p1"))).toEqual(new Set([1]));
    expect(await after.leases.take("a", { nowUs: 1_000, slotUs: 1e6 / 3, slots: 1 })).toEqual({
      granted: true,
      startUs: 334_333,
    });
  });

  it("forgets a pack an hour after its last request was settled, and keeps the totals", async () => {
    const { state, clock } = openWithClock();
    await state.ledger.recordFanOut(
      fannedOut({ requests: 2, targets: new Map([["a", settlement({ 0: "filtered" })]]) }),
    );
    await state.ledger.settle("a", "p1", settlement({ 1: "answered.2xx" }));
    clock.nowMs += hourMs - 1;
    await state.ledger.recordFanOut(fannedOut({ pack: "p2" }));
    const before = settledIndexes(await state.ledger.sheet("a", "p1"));
    clock.nowMs += 1;
    await state.ledger.recordFanOut(fannedOut({ pack: "p3" }));

    expect(before).toEqual(new Set([0, 1]));
    expect(settledIndexes(await state.ledger.sheet("a", "p1"))).toEqual(new Set());
    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 22, filtered: 1, "answered.2xx": 1 });
  });

  it("remembers a pack for fifteen days while one of its targets has requests waiting", async () => {
    const { state, clock } = openWithClock();
    const targets = new Map([
      ["a", new Map()],
      ["b", new Map()],
    ]);
    await state.ledger.recordFanOut(fannedOut({ requests: 1, targets }));
    await state.ledger.settle("a", "p1", settlement({ 0: "answered.2xx" }));
    clock.nowMs += 15 * 24 * hourMs - 1;
    await state.ledger.recordFanOut(fannedOut({ pack: "p2" }));
    const before = settledIndexes(await state.ledger.sheet("a", "p1"));
    clock.nowMs += 1;
    await state.ledger.recordFanOut(fannedOut({ pack: "p3" }));

    expect(before).toEqual(new Set([0]));
    expect(settledIndexes(await state.ledger.sheet("a", "p1"))).toEqual(new Set());
  });

  it("remembers a pack with dead letters, which can be sent again", async () => {
    const { state, clock } = openWithClock();
    await state.ledger.recordFanOut(fannedOut({ requests: 2 }));
    await state.ledger.settle("a", "p1", settlement({ 0: "answered.2xx", 1: "deadLettered" }));
    clock.nowMs += 24 * hourMs;
    await state.ledger.recordFanOut(fannedOut({ pack: "p2", requests: 1, targets: new Map() }));

    await state.ledger.reopen("a", "p1", [1], 1);
    await state.ledger.settle("a", "p1", settlement({ 1: "answered.2xx" }), 1);

    expect(await totalsOf(state.ledger, "a")).toEqual({ enqueued: 2, "answered.2xx": 2 });
  });

  it("rejects an index that no pack has, and notes no fate of that call", async () => {
    const state = open();

    await expect(state.ledger.settle("a", "p1", settlement({ 0: "expired", 100000: "expired" }))).rejects.toThrow(
      RangeError,
    );
    expect(settledIndexes(await state.ledger.sheet("a", "p1"))).toEqual(new Set());
  });

  it("settles a pack of 150 requests in less than a millisecond", async () => {
    const state = open();
    const whole = new Map(Array.from({ length: 150 }, (_, i) => [i, "answered.2xx" as const]));
    const tookMs: number[] = [];
    for (let i = 0; i < 300; i++) {
      const startMs = performance.now();
      await state.ledger.settle("a", `p${i}`, whole);
      tookMs.push(performance.now() - startMs);
    }

    // The fastest of the last 50, because a busy machine slows some of them down. The last ones have a full table.
    expect(Math.min(...tookMs.slice(-50))).toBeLessThan(1);
  });
});

describe("EmbeddedState: the file", () => {
  it("is refused if it is not a database", () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "state.db"), "this is not a database: SQLite refuses to open it".repeat(100));

    expect(() => open(directory)).toThrow(expect.objectContaining({ code: "STATE_UNAVAILABLE" }));
  });

  it("refuses all calls once it is closed", async () => {
    const state = open();
    state.close();
    state.close();

    await expect(state.leases.take("a", { nowUs: 1, slotUs: 1, slots: 1 })).rejects.toMatchObject({
      name: "StateError",
    });
    await expect(state.ledger.sheet("a", "p1")).rejects.toMatchObject({ name: "StateError" });
  });
});

const hourMs = 3_600_000;

function newDirectory(): string {
  return mkdtempSync(join(root, "s-"));
}

function open(directory = newDirectory(), now?: () => number): EmbeddedState {
  const state = EmbeddedState.open(directory, now);
  onTestFinished(() => state.close());
  return state;
}

function openWithClock() {
  const clock = { nowMs: 1_790_000_000_000 };
  return { clock, state: open(newDirectory(), () => clock.nowMs) };
}

/** The number of slots above rate * W in the fullest window W: 1 is allowed. The times of the slots are whole µs. */
function worstExcess(slots: readonly number[], slotUs: number): number {
  let worst = 0;
  for (let from = 0; from < slots.length; from++) {
    for (let to = from; to < slots.length; to++) {
      worst = Math.max(worst, to - from + 1 - (slots[to] - slots[from] + 2) / slotUs);
    }
  }
  return worst;
}
