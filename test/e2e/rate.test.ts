import { monitorEventLoopDelay } from "node:perf_hooks";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/balance.ts";
import { mostInWindow } from "../../relay/demo/arrival-plot.ts";
import { maxLateUs } from "../../relay/pacing.ts";
import { Rig } from "../support/rig.ts";

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

describe("a rate of 200/s with two hosts that replay side by side", () => {
  it("is kept within 1 % over 10 s and is never exceeded", async () => {
    const stalls = monitorEventLoopDelay({ resolution: 2 });
    const pool = new Pool(rig.frontend, { connections: 50 });
    const send = async (_: unknown, i: number): Promise<void> => {
      const { body } = await pool.request({ method: "GET", path: `/api/v1/rate/${i}` });
      await body.dump();
    };
    await Promise.all(Array.from({ length: rate * seconds }, send));
    await pool.close();
    stalls.enable();
    expect(addsUp(await rig.settledLedger(40_000))).toBe(true);
    stalls.disable();

    const timesMs = rig.shadows.shadow.received.map(({ atMs }) => atMs).sort((a, b) => a - b);
    expect(timesMs.length).toBe(rate * seconds);
    // Not from the very first on: that one waits for its connection, and code runs for the first time.
    const fromMs = timesMs[0] + 500;
    const within10s = timesMs.filter((timeMs) => timeMs >= fromMs && timeMs < fromMs + 10_000).length;
    expect(Math.abs(within10s - rate * 10)).toBeLessThanOrEqual(rate * 10 * 0.01);
    // Sends are bounded by rate * (window + lateness) + 1. Arrivals are sends plus the way and plus what this process stalls.
    const wayMs = 20 + stalls.max / 1_000_000;
    for (const windowMs of [100, 1_000]) {
      const bound = rate * ((windowMs + maxLateUs / 1_000 + wayMs) / 1_000) + 1;
      expect(mostInWindow(timesMs, windowMs)).toBeLessThanOrEqual(bound);
    }
  }, 90_000);
});
