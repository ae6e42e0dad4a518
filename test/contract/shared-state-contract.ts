import { describe, expect, it } from "vitest";
import type { State } from "../../relay/state/port.ts";

/** Two processes that have the same empty store open. */
export interface SharedState {
  readonly one: State;
  readonly other: State;
  readonly close: () => void | Promise<void>;
}

/** The contract of every state store that several processes share: controls and figures. */
export function describeSharedState(name: string, open: () => Promise<SharedState>): void {
  const on = (work: (opened: SharedState) => Promise<void>) => async () => {
    const opened = await open();
    try {
      await work(opened);
    } finally {
      await opened.close();
    }
  };

  describe(`${name}: controls`, () => {
    it(
      "are empty and have version 0 if nothing was ever written",
      on(async ({ one }) => {
        expect(await one.controls.read("a")).toEqual({ control: {}, version: 0 });
      }),
    );

    it(
      "are read by other processes as they were written",
      on(async ({ one, other }) => {
        const control = {
          settings: { ratePerSecond: 0.5, concurrency: 4, sample: 0.25, paused: true as const },
          breaker: { openedAtMs: 1, probeAtMs: 2, probes: 3, reason: "ECONNREFUSED: „nobody“ listens" },
          slowdown: { factor: 0.125, atMs: 4 },
        };

        expect(await one.controls.write("a", control, 0)).toBe(true);

        expect((await other.controls.read("a")).control).toEqual(control);
        expect(await other.controls.read("b")).toEqual({ control: {}, version: 0 });
      }),
    );

    it(
      "have another version after each write",
      on(async ({ one, other }) => {
        await one.controls.write("a", { settings: { concurrency: 1 } }, 0);
        const first = await other.controls.read("a");
        expect(await other.controls.write("a", { settings: { concurrency: 2 } }, first.version)).toBe(true);

        const second = await one.controls.read("a");
        expect(second.control).toEqual({ settings: { concurrency: 2 } });
        expect(second.version).not.toBe(first.version);
        expect(first.version).not.toBe(0);
      }),
    );

    it(
      "stay unchanged if another process wrote first",
      on(async ({ one, other }) => {
        await one.controls.write("a", { settings: { concurrency: 1 } }, 0);
        const { version } = await one.controls.read("a");
        await other.controls.write("a", { settings: { concurrency: 2 } }, version);

        expect(await one.controls.write("a", { settings: { concurrency: 3 } }, 0)).toBe(false);
        expect(await one.controls.write("a", { settings: { concurrency: 3 } }, version)).toBe(false);
        expect(await one.controls.write("b", { settings: { concurrency: 3 } }, version)).toBe(false);
        expect((await one.controls.read("a")).control).toEqual({ settings: { concurrency: 2 } });
        expect(await one.controls.read("b")).toEqual({ control: {}, version: 0 });
      }),
    );

    it(
      "are written by only one of many concurrent writers",
      on(async ({ one, other }) => {
        const tries = Array.from({ length: 10 }, (_, i) =>
          (i % 2 === 0 ? one : other).controls.write("a", { settings: { concurrency: i + 1 } }, 0),
        );

        expect((await Promise.all(tries)).filter((written) => written)).toEqual([true]);
      }),
    );
  });

  describe(`${name}: figures`, () => {
    it(
      "are empty if nothing was added",
      on(async ({ one }) => {
        await one.figures.add("a", minuteMs, new Map());

        expect(await one.figures.read("a", 0, minuteMs * 2)).toEqual([]);
      }),
    );

    it(
      "add up across processes",
      on(async ({ one, other }) => {
        await Promise.all([
          one.figures.add("a", minuteMs, counts({ sent: 3, "answered.2xx": 2 })),
          one.figures.add("a", minuteMs, counts({ sent: 10 })),
          other.figures.add("a", minuteMs, counts({ sent: 4, "answered.5xx": 1 })),
        ]);

        expect(await other.figures.read("a", minuteMs, minuteMs + 1)).toEqual([
          { minuteMs, counts: counts({ sent: 17, "answered.2xx": 2, "answered.5xx": 1 }) },
        ]);
      }),
    );

    it(
      "are separate for each target, whatever the names of the counters are",
      on(async ({ one }) => {
        const odd = { pk: 1, sk: 2, expiresAt: 3, minute: 4, "name.of.many.parts": 5, "0": 6, ADD: 7 };
        await one.figures.add("a", minuteMs, counts({ sent: 1 }));
        await one.figures.add("b", minuteMs, counts(odd));

        expect(await one.figures.read("a", 0, minuteMs + 1)).toEqual([{ minuteMs, counts: counts({ sent: 1 }) }]);
        expect(await one.figures.read("b", 0, minuteMs + 1)).toEqual([{ minuteMs, counts: counts(odd) }]);
      }),
    );

    it(
      "are returned in the order of the minutes, from the start to before the end",
      on(async ({ one }) => {
        for (const minute of [3, 0, 4, 1, 2]) {
          await one.figures.add("a", minuteMs + minute * 60_000, counts({ sent: minute }));
        }

        const minutes = await one.figures.read("a", minuteMs + 60_000, minuteMs + 4 * 60_000);

        expect(minutes.map(({ counts }) => counts.get("sent"))).toEqual([1, 2, 3]);
        expect(await one.figures.read("a", minuteMs + 1, minuteMs + 1)).toEqual([]);
      }),
    );

    it(
      "hold 150 counters a minute",
      on(async ({ one }) => {
        const many = new Map(Array.from({ length: 150 }, (_, i) => [`counter.number.${i}`, i + 1]));

        await one.figures.add("a", minuteMs, many);
        await one.figures.add("a", minuteMs, many);

        const [minute] = await one.figures.read("a", minuteMs, minuteMs + 60_000);
        expect(minute.counts).toEqual(new Map([...many].map(([name, count]) => [name, count * 2])));
      }),
    );
  });
}

const minuteMs = Math.floor(Date.now() / 60_000) * 60_000;

function counts(byName: Readonly<Record<string, number>>): ReadonlyMap<string, number> {
  return new Map(Object.entries(byName));
}
