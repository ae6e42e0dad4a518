import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { maxLateUs } from "../../relay/state/slot-round.ts";
import type { ArrivalReport } from "../support/data/arrival-recorder.ts";
import { Crew, type CrewOptions } from "./crew.ts";
import { boundOf, meanRate, mostWithin } from "./rate-figures.ts";

const seconds = Number(process.env.RELAY_TEST_RATE_SECONDS ?? 30);
// Left out: the time until twelve new processes and the emulators, which share the cores, have compiled their code. How soon
// workers with cores of their own reach a rate is shown by the simulation.
const warmUpUs = 10_000_000;
const windowsUs = [1_000_000, 100_000];
const rates = [200, 1_000];
// The rest of a round, and the next one.
const knownUs = 2_400_000;
// Much longer than the slots that workers had before the outage.
const awayMs = 6_000;

/** The largest counts in any window of that length. */
interface Worst {
  readonly windowUs: number;
  readonly sent: number;
  readonly arrived: number;
}

interface Measured {
  readonly achieved: number;
  readonly worst: readonly Worst[];
  /** The longest time from the worker's send to the shadow's record. */
  readonly longestWayUs: number;
  readonly longestStallUs: number;
}

describe.each(rates)("12 workers on SQS and DynamoDB at %i/s", (ratePerSecond) => {
  it("keep the rate exactly", async () => {
    const measured = await measure({ engine: "aws", workers: 12, ratePerSecond });

    expectRate(measured, ratePerSecond);
  });

  it("keep the rate while one of them is killed", async () => {
    const measured = await measure({ engine: "aws", workers: 12, ratePerSecond }, async (crew) => {
      await crew.arrived(ratePerSecond * 10, 60_000);
      await crew.workers[0].kill();
    });

    expectRate(measured, ratePerSecond);
  });

  it("keep the rate if one clock is 5 ms ahead", async () => {
    const clockDifferenceUs = 5_000;
    const options = { engine: "aws", workers: 12, ratePerSecond, firstClockAheadUs: clockDifferenceUs } as const;
    const measured = await measure(options);

    expectRate(measured, ratePerSecond, clockDifferenceUs);
  });
});

describe.each(rates)("3 hosts on one machine at %i/s", (ratePerSecond) => {
  it("keep the rate exactly", async () => {
    const measured = await measure({ engine: "embedded", workers: 3, ratePerSecond });

    expectRate(measured, ratePerSecond);
  });
});

describe("12 workers on SQS and DynamoDB during an outage of DynamoDB", () => {
  it("stop sending at the end of their slots, log why, and continue without a loss", async () => {
    const ratePerSecond = 200;
    const requests = ratePerSecond * 15;
    const crew = await Crew.start({ engine: "aws", workers: 12, ratePerSecond, requestsOfPack: 25 }, requests);
    await crew.go();
    await crew.arrived(ratePerSecond * 3, 60_000);
    await crew.gate.shut();
    const shutAtUs = Date.now() * 1_000;
    await sleep(awayMs);
    const openedAtUs = Date.now() * 1_000;
    await crew.gate.open();
    await crew.arrived(requests, 90_000);
    const { arrivals } = await crew.report();
    const { deadMessages } = await crew.queue.backlog();
    const fates = await crew.settled();

    const sentUs = arrivals.map(([, sentAtUs]) => sentAtUs);
    const lastSlotUs = shutAtUs + knownUs + maxLateUs;
    expect(sentUs.filter((atUs) => atUs > lastSlotUs && atUs < openedAtUs)).toEqual([]);
    expect(sentUs.filter((atUs) => atUs > openedAtUs).length).toBeGreaterThan(requests / 3);
    expect(new Set(arrivals.map(([number]) => number)).size).toBe(requests);
    expect(fates).toEqual({ "answered.2xx": requests });
    expect(deadMessages).toBe(0);
    const logged = crew.logs.map((lines) => lines.filter(({ event }) => event.startsWith("state-")));
    // A call that began in the outage may fail after another one was answered: then its end is logged twice.
    for (const lines of logged)
      expect(lines.map(({ event }) => event).join()).toMatch(/^state-down(,state-up,state-down)?,state-up$/);
    expect(logged[0][0].reason).toContain("DynamoDB");
  });
});

async function measure(options: CrewOptions, meanwhile = async (_: Crew): Promise<void> => {}): Promise<Measured> {
  const { ratePerSecond } = options;
  const wanted = ratePerSecond * (seconds + warmUpUs / 1e6 + 1);
  // More than is measured: the workers still hold some requests at the end.
  const crew = await Crew.start(options, wanted + ratePerSecond * 4 + options.workers * 400);
  await crew.go();
  await meanwhile(crew);
  await crew.arrived(wanted, (seconds + warmUpUs / 1e6) * 1_500 + 10_000);
  const measured = toMeasured(await crew.report(), ratePerSecond);
  print(options, measured);
  return measured;
}

function toMeasured({ arrivals, longestStallUs }: ArrivalReport, ratePerSecond: number): Measured {
  const sentUs = arrivals.map(([, sentAtUs]) => sentAtUs);
  const arrivedUs = arrivals.map(([, , atUs]) => atUs);
  return {
    achieved: meanRate(sentUs, seconds, warmUpUs) / ratePerSecond,
    worst: windowsUs.map((windowUs) => ({
      windowUs,
      sent: mostWithin(sentUs, windowUs),
      arrived: mostWithin(arrivedUs, windowUs),
    })),
    longestWayUs: Math.max(...arrivals.map(([, sentAtUs, atUs]) => atUs - sentAtUs)),
    longestStallUs,
  };
}

/** Checks sends against the exact bound, and arrivals against the bound plus the longest way, since they may bunch up. */
function expectRate({ achieved, worst, longestWayUs }: Measured, ratePerSecond: number, clockDifferenceUs = 0): void {
  expect(achieved).toBeGreaterThan(0.99);
  expect(achieved).toBeLessThanOrEqual(1.01);
  for (const { windowUs, sent, arrived } of worst) {
    expect(sent).toBeLessThanOrEqual(boundOf(ratePerSecond, windowUs, { clockDifferenceUs }));
    const stallUs = longestWayUs;
    expect(arrived).toBeLessThanOrEqual(boundOf(ratePerSecond, windowUs, { clockDifferenceUs, stallUs }));
  }
}

function print({ engine, workers, ratePerSecond }: CrewOptions, measured: Measured): void {
  const { achieved, worst, longestWayUs, longestStallUs } = measured;
  const windows = worst.map(
    ({ windowUs, sent, arrived }) =>
      `${windowUs / 1_000} ms: sent ≤ ${sent}, arrived ≤ ${arrived}, bound ${boundOf(ratePerSecond, windowUs)}`,
  );
  const ms = (us: number) => `${(us / 1_000).toFixed(1)} ms`;
  console.log(
    [
      `${workers} × ${engine}, ${ratePerSecond}/s: ${(achieved * 100).toFixed(2)} % over ${seconds} s`,
      ...windows,
      `longest way ${ms(longestWayUs)}, longest stall of the shadow ${ms(longestStallUs)}`,
    ].join("; "),
  );
}
