import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivalBound, countEarly } from "../../relay/demo/arrival-bound.ts";
import { mostInWindow } from "../../relay/demo/arrival-plot.ts";
import { StallWatch } from "../../relay/demo/stall-watch.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { Rig } from "../support/processes/rig.ts";

const rate = 200;
const seconds = 11;
let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start({ targets: { shadow: `rate: ${rate}/s` }, agent: "  pack: { requests: 50 }" });
  await rig.startHost();
});

afterAll(async () => {
  await rig?.stop();
});

describe("a rate of 200/s with two hosts that replay at the same time", () => {
  it("is never exceeded, and is reached except for slots that are lost to stalls", async () => {
    const stalls = new StallWatch();
    const startMs = performance.now();
    const pool = new Pool(rig.frontend, { connections: 50 });
    const send = async (_: unknown, i: number): Promise<void> => {
      const { body } = await pool.request({ method: "GET", path: `/api/v1/rate/${i}` });
      await body.dump();
    };
    await Promise.all(Array.from({ length: rate * seconds }, send));
    await pool.close();
    expect(addsUp(await rig.settledLedger())).toBe(true);
    const stallMs = stalls.stop();

    const timesMs = rig.shadows.shadow.received.map(({ atMs }) => atMs);
    expect(timesMs.length).toBe(rate * seconds);
    expect(countEarly(timesMs, startMs, rate)).toBe(0);
    // Shorter windows measure the machine rather than the rate; the pacer's test covers them.
    expect(mostInWindow(timesMs, 1_000)).toBeLessThanOrEqual(arrivalBound(rate, 1_000, stallMs));
    // A process that stalls for more than 50 ms loses slots. Without stalls the pacer's test demands 99 %.
    const perSecond = (1_000 * (timesMs.length - 1)) / ((timesMs.at(-1) as number) - timesMs[0]);
    process.stdout.write(
      `  ${rate}/s with two hosts: ${perSecond.toFixed(1)}/s, longest stall ${stallMs.toFixed(0)} ms\n`,
    );
    expect(perSecond).toBeGreaterThan(rate / 2);
  }, 120_000);
});
