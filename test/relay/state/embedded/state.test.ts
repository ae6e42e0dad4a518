import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../../../relay/state/fate-sheet.ts";
import { maxLateUs, toOpenedRound } from "../../../../relay/state/slot-round.ts";
import { describeEndedRuns } from "../../../contract/ended-runs-contract.ts";
import { describeJobs } from "../../../contract/job-contract.ts";
import { describeSharedState } from "../../../contract/shared-state-contract.ts";
import { describeState, fannedOut, settlement, totalsOf } from "../../../contract/state-contract.ts";
import { job } from "../../../support/data/jobs.ts";
import { ChildScript } from "../../../support/processes/child-script.ts";

const root = mkdtempSync(join(tmpdir(), "embedded-state-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describeState("EmbeddedState", async () => {
  const state = EmbeddedState.open(newDirectory());
  return { rounds: state.rounds, ledger: state.ledger, close: () => state.close() };
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

async function openTwo() {
  const directory = newDirectory();
  let nowMs = 0;
  const [one, other] = [EmbeddedState.open(directory, () => nowMs), EmbeddedState.open(directory, () => nowMs)];
  return {
    one,
    other,
    setNow(ms: number) {
      nowMs = ms;
    },
    close() {
      one.close();
      other.close();
    },
  };
}

describeJobs("EmbeddedState", openTwo);

describeEndedRuns("EmbeddedState", openTwo);

describe("EmbeddedState: slot rounds", () => {
  it("keep the rate in any window, and share it, however many processes take slots", async () => {
    const directory = newDirectory();
    const takers = Array.from({ length: 6 }, () => new ChildScript("slot-taker.ts", [directory, "a", "700", "4"]));
    for (const taker of takers) await taker.printed(1);
    for (const taker of takers) taker.start();
    for (const taker of takers) await taker.exited();

    const times = takers.map(({ lines }) => lines.slice(1).map(Number));
    const all = times.flat().sort((a, b) => a - b);
    expect(worstExcess(all, 1e6 / 700)).toBeLessThanOrEqual(1);
    for (const { length } of times) expect(length).toBeGreaterThan(all.length / 12);
  });
});

describe("EmbeddedState: ledger", () => {
  it("keeps everything when the file is opened again", async () => {
    const directory = newDirectory();
    const before = open(directory);
    await before.ledger.recordFanOut(fannedOut({ requests: 3 }));
    await before.ledger.settle("a", "p1", settlement({ 1: "answered.2xx" }));
    const { table } = await before.rounds.open("a", undefined, toOpenedRound(undefined, 1e6 / 3, 1_000, 0));
    const totals = await before.ledger.totals();
    before.close();

    const after = open(directory);

    expect(await after.ledger.totals()).toEqual(totals);
    expect(settledIndexes(await after.ledger.sheet("a", "p1"))).toEqual(new Set([1]));
    expect(await after.rounds.read("a")).toEqual(table);
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

    await expect(state.rounds.enter("a")).rejects.toMatchObject({ name: "StateError" });
    await expect(state.ledger.sheet("a", "p1")).rejects.toMatchObject({ name: "StateError" });
  });
});

describe("EmbeddedState: when the wall clock is set ahead for a moment", () => {
  it("forgets no fate of a pack that may be delivered again, no job and no figure", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    onTestFinished(() => void vi.useRealTimers());
    const { ledger, jobs, figures } = open();
    const minuteMs = Math.floor(Date.now() / 60_000) * 60_000;
    const one = fannedOut({ requests: 1, targets: new Map([["a", new Map([[0, "skipped"]])]]) });
    await ledger.recordFanOut(one);
    await jobs.write(job({ status: "done", endedAtMs: Date.now() }), 0);
    await figures.add("a", minuteMs, new Map([["skipped", 1]]));
    vi.setSystemTime(Date.now() + 40 * 24 * hourMs);
    await ledger.recordFanOut(fannedOut({ pack: "later" }));
    await jobs.write(job({ id: "later" }), 0);
    await figures.add("a", minuteMs + 60_000, new Map([["skipped", 1]]));

    expect([...settledIndexes(await ledger.sheet("a", one.pack))]).toEqual([0]);
    expect(await jobs.list()).toHaveLength(2);
    expect(await figures.read("a", minuteMs, minuteMs + 60_000)).toHaveLength(1);
  });
});

describe("EmbeddedState: figures", () => {
  it.each([
    ["right", 0],
    ["two months behind", -60 * 24 * hourMs],
    ["two months ahead", 60 * 24 * hourMs],
  ])("are kept for 14 days if the clock was %s when the file was made", async (_, errorMs) => {
    const startMs = Date.UTC(2026, 11);
    let [uptimeMs, setByMs] = [0, errorMs];
    const machine = { wallMs: () => startMs + setByMs + uptimeMs, uptimeMs: () => uptimeMs, boot: "boot" };
    const { figures } = EmbeddedState.open(newDirectory(), machine);
    const add = () => figures.add("a", Math.floor(machine.wallMs() / hourMs) * hourMs, new Map([["skipped", 1]]));
    await add();
    setByMs = 0;
    for (let hour = 1; hour <= 20 * 24; hour++) {
      uptimeMs += hourMs;
      await add();
    }
    const kept = await figures.read("a", 0, machine.wallMs() + hourMs);

    expect(kept.length).toBeGreaterThanOrEqual(14 * 24);
    expect(kept.length).toBeLessThanOrEqual(14 * 24 + 3);
  });

  it("are not removed by a clock that was set ahead for less than an hour", async () => {
    let [uptimeMs, setByMs] = [0, 0];
    const machine = {
      wallMs: () => Date.UTC(2026, 11) + setByMs + uptimeMs,
      uptimeMs: () => uptimeMs,
      boot: "boot",
    };
    const { figures } = EmbeddedState.open(newDirectory(), machine);
    const add = () => figures.add("a", machine.wallMs(), new Map([["skipped", 1]]));
    for (let minute = 0; minute < 180; minute++) {
      await add();
      uptimeMs += 60_000;
      setByMs = minute >= 100 && minute < 155 ? 40 * 24 * hourMs : 0;
    }

    expect(await figures.read("a", 0, Number.MAX_SAFE_INTEGER)).toHaveLength(180);
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
function worstExcess(times: readonly number[], slotUs: number): number {
  // The clock has whole milliseconds.
  const lateUs = maxLateUs + 1_000;
  let worst = 0;
  for (let from = 0; from < times.length; from++) {
    for (let to = from; to < times.length; to++) {
      worst = Math.max(worst, to - from + 1 - (times[to] - times[from] + lateUs) / slotUs);
    }
  }
  return worst;
}
