import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toRecord } from "../../relay/job/job.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import type { State } from "../../relay/state/port.ts";
import { ManualClock } from "../support/clocks/manual-clock.ts";
import { job } from "../support/data/jobs.ts";
import { fixedRate } from "../support/data/lanes.ts";

/** A state, and how another version, or a person, writes into its store. */
export interface OpenStore {
  readonly state: State;
  readonly putControl: (target: string, json: string) => Promise<void>;
  /** Numbers as text: they may be larger than a double holds exactly. */
  readonly putRound: (target: string, round: Readonly<Record<RoundField, string>>) => Promise<void>;
  readonly putJob: (id: string, json: string) => Promise<void>;
  readonly close: () => void | Promise<void>;
}

export type RoundField =
  | "number"
  | "startUs"
  | "endUs"
  | "closeUs"
  | "seats"
  | "slotUs"
  | "firstSlot"
  | "firstUs"
  | "entered";

const startUs = 1_790_000_000_000_000;
const nowMs = startUs / 1_000;

const goodRound: Readonly<Record<RoundField, string>> = {
  number: "7",
  startUs: `${startUs - 5_000_000}`,
  endUs: `${startUs - 4_400_000}`,
  closeUs: `${startUs - 4_650_000}`,
  seats: "1",
  slotUs: "100000.5",
  firstSlot: "70",
  firstUs: `${startUs - 5_000_000}`,
  entered: "0",
};

/** What every store does with numbers that are out of bounds. */
export function describeStoredNumbers(name: string, open: () => Promise<OpenStore>): void {
  const on = (work: (store: OpenStore) => Promise<void>) => async () => {
    const store = await open();
    try {
      await work(store);
    } finally {
      await store.close();
    }
  };

  describe(`${name}: numbers that an older version left`, () => {
    it.each([
      [
        '{"settings":{"ratePerSecond":1e9}}',
        { settings: { ratePerSecond: 1e6 } },
        /ratePerSecond is 1000000000, read as 1000000/,
      ],
      ['{"settings":{"ratePerSecond":1e300}}', { settings: { ratePerSecond: 1e6 } }, /ratePerSecond is 1e\+300/],
      ['{"settings":{"ratePerSecond":1e999}}', { settings: { ratePerSecond: 1e6 } }, /ratePerSecond is Infinity/],
      ['{"settings":{"ratePerSecond":-5}}', { settings: { ratePerSecond: 0.01 / 3_600 } }, /ratePerSecond is -5/],
      // JSON.stringify writes NaN as null.
      [
        '{"settings":{"ratePerSecond":null,"sample":0.5}}',
        { settings: { sample: 0.5 } },
        /ratePerSecond is null, ignored/,
      ],
      ['{"settings":{"concurrency":1e15}}', { settings: { concurrency: 10_000 } }, /concurrency is 1000000000000000/],
      ['{"settings":{"sample":-1}}', { settings: { sample: 0 } }, /sample is -1, read as 0/],
      ['{"settings":{"speed":3}}', { settings: {} }, /speed is 3, ignored/],
      ['{"settings":7,"queue":"q"}', { queue: "q" }, /settings is 7, ignored/],
      [
        '{"breaker":{"openedAtMs":1e300,"probeAtMs":-1,"probes":1e300,"reason":"away"}}',
        { breaker: { openedAtMs: 8.64e15, probeAtMs: 0, probes: 1e8, reason: "away" } },
        /openedAtMs is 1e\+300/,
      ],
      ['{"breaker":{"openedAtMs":null}}', {}, /breaker is .*, ignored/],
      ['{"slowdown":{"factor":-3,"atMs":1e300}}', { slowdown: { factor: 1 / 64, atMs: 8.64e15 } }, /factor is -3/],
      ["not JSON", {}, /it is "not JSON", ignored/],
    ])("are read as the nearest ones that are allowed, or as unset: %s", async (json, control, repair) => {
      await on(async ({ state, putControl }) => {
        await putControl("staging", json);
        const read = await state.controls.read("staging");

        expect(read.control).toEqual(control);
        expect(read.repairs?.join("; ")).toMatch(repair);
        expect(() => new Date(read.control.breaker?.openedAtMs ?? 0).toISOString()).not.toThrow();
        // The next change removes what was wrong.
        expect(await state.controls.write("staging", read.control, read.version)).toBe(true);
        expect(await state.controls.read("staging")).toEqual({ control: read.control, version: read.version + 1 });
      })();
    });

    it.each([
      ["a rate of 10⁹/s", { slotUs: "0.001", firstSlot: "5000000000" }],
      ["a rate of 10¹⁸/s, after some seconds", { slotUs: "1e-12", firstSlot: "9007199254740993000" }],
      ["the highest integer", { slotUs: "1", firstSlot: "9223372036854775807" }],
      ["a distance of 0", { slotUs: "0" }],
      ["a negative distance", { slotUs: "-3" }],
      ["a distance of ages", { slotUs: "1e20" }],
      ["a length of ages", { endUs: `${startUs + 8e15}`, closeUs: `${startUs + 8e15}` }],
      ["an end before the start", { endUs: "5" }],
      ["a first slot in ages", { firstUs: "8000000000000000" }],
      ["a start beyond the calendar", { startUs: "9200000000000000000", endUs: "9200000000000000001" }],
      ["a billion seats", { seats: "1000000000" }],
      ["a negative number of seats", { seats: "-4" }],
      ["a billion workers that have entered", { entered: "1000000000" }],
      ["the highest number of a round", { number: "9223372036854775806" }],
      ["a negative number of a round", { number: "-9" }],
    ])("stop no worker: a round with %s", async (_, changes) => {
      await on(async ({ state, putRound }) => {
        await putRound("staging", { ...goodRound, ...changes });
        const clock = new ManualClock(startUs);
        const end = new AbortController();
        const times: number[] = [];
        const send = async () => {
          const pacer = new Pacer("staging", fixedRate(10), state.rounds, clock);
          for (;;) {
            await pacer.acquire(end.signal);
            times.push(clock.nowUs());
          }
        };
        const done = send().catch(() => {});
        // A store on a network answers while the clock stands still.
        for (let turns = 0; turns < 400 && times.length < 30; turns++) {
          await clock.runUntil(clock.nowUs() + 50_000);
          await state.rounds.read("other");
        }
        end.abort();
        await clock.runUntil(clock.nowUs() + 2_000_000);
        await done;
        const table = await state.rounds.read("staging");

        expect(times.length).toBeGreaterThanOrEqual(30);
        for (let i = 1; i < times.length; i++) expect(times[i] - times[i - 1]).toBeGreaterThanOrEqual(49_000);
        for (const number of Object.values(table?.round ?? {})) expect(number).toBeLessThan(2 ** 53);
      })();
    });

    it.each([
      ['"pace":{"kind":"rate","perSecond":1e300}', { pace: { kind: "rate", perSecond: 1e6 } }],
      ['"pace":{"kind":"rate","perSecond":-1}', { pace: { kind: "rate", perSecond: 0.01 / 3_600 } }],
      ['"pace":{"kind":"speed","factor":1e999}', { pace: { kind: "speed", factor: 1e6 } }],
      ['"loops":1e300', { loops: 1e6 }],
      ['"loops":0.5', { loops: 1 }],
      ['"createdAtMs":1e300', { createdAtMs: 8.64e15 }],
      ['"maxGapMs":1e300', { maxGapMs: 365 * 86_400_000 }],
      ['"total":{"requests":1e300,"bytes":-1}', { total: { requests: Number.MAX_SAFE_INTEGER, bytes: 0 } }],
      ['"anchor":{"atMs":-1e300,"offsetMs":0}', { anchor: { atMs: 0, offsetMs: 0 } }],
    ])("of a job are read as the nearest ones that are allowed: %s", async (field, expected) => {
      await on(async ({ state, putJob }) => {
        const { id } = job();
        await putJob(id, toRecord(job()).job.replace(/\}$/, `,${field}}`));
        const found = await state.jobs.read(id);

        expect(found?.job).toEqual({ ...job(), ...expected });
        expect(found?.repairs).not.toEqual([]);
        expect((await state.jobs.list()).map((each) => each.job)).toEqual([found?.job]);
        expect(new Date(found?.job.createdAtMs ?? 0).toISOString()).not.toBe("");
      })();
    });

    it(
      "of any kind make a control that can be read, used and written",
      on(async ({ state, putControl }) => {
        const number = fc.oneof(fc.double(), fc.constantFrom("1e999", "-1e999", "null", '"7"', "[]", "{}").map(String));
        const text = fc.record({ rate: number, concurrency: number, sample: number, at: number, factor: number }).map(
          ({ rate, concurrency, sample, at, factor }) =>
            `{"settings":{"ratePerSecond":${toJson(rate)},"concurrency":${toJson(concurrency)},"sample":${toJson(sample)}},
            "breaker":{"openedAtMs":${toJson(at)},"probeAtMs":${toJson(at)},"probes":${toJson(factor)},"reason":""},
            "slowdown":{"factor":${toJson(factor)},"atMs":${toJson(at)}}}`,
        );
        await fc.assert(
          fc.asyncProperty(text, async (json) => {
            await putControl("any", json);
            const { control } = await state.controls.read("any");
            const { ratePerSecond = 1, concurrency = 1, sample = 1 } = control.settings ?? {};

            expect(ratePerSecond === "unlimited" || (ratePerSecond > 2e-6 && ratePerSecond <= 1e6)).toBe(true);
            expect(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000).toBe(true);
            expect(sample >= 0 && sample <= 1).toBe(true);
            expect(new Date(control.breaker?.openedAtMs ?? nowMs).toISOString()).not.toBe("");
          }),
          { numRuns: 40 },
        );
      }),
    );
  });
}

function toJson(value: number | string): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
