import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivalBound, countEarly } from "../../relay/demo/arrival-bound.ts";
import { mostInWindow } from "../../relay/demo/arrival-plot.ts";
import { StallWatch } from "../../relay/demo/stall-watch.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Rig } from "../support/processes/rig.ts";

const requests = 400;
let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start({
    targets: {
      all: "rate: unlimited",
      half: "rate: 100/s, sample: 50%, stickyBy: { cookie: user }, when: { path: ^/api/v1/users/ }",
    },
  });
});

afterAll(async () => {
  await rig?.stop();
});

describe("two targets for the same traffic", () => {
  it("each receive their own share at their own rate", async () => {
    const stalls = new StallWatch();
    const fromMs = performance.now();
    const pool = new Pool(rig.frontend, { connections: 20 });
    await Promise.all(
      Array.from({ length: requests }, async (_, i) => {
        const headers = { cookie: `theme=dark; user=u${i % 100}` };
        const { body } = await pool.request({ method: "GET", path: `/api/v1/users/${i}`, headers });
        await body.dump();
        const other = await pool.request({ method: "GET", path: `/api/v1/other/${i}` });
        await other.body.dump();
      }),
    );
    await pool.close();
    const { all, half } = rig.shadows;
    const ledger = await rig.settledLedger();
    const stallMs = stalls.stop();
    expect(addsUp(ledger)).toBe(true);
    expect(all.received.length).toBe(2 * requests);

    const { enqueued, fates } = (await rig.hostStats()).targets.half;
    expect({ enqueued, filtered: fates.filtered }).toEqual({ enqueued: 2 * requests, filtered: requests });
    expect(half.received.length).toBe(fates["answered.2xx"]);
    expect(fates.sampledOut + half.received.length).toBe(requests);

    // All four requests of a user, or none.
    const byUser = Map.groupBy(half.received, ({ headers }) => String(headers.cookie).split("user=")[1]);
    expect([...byUser.values()].every((own) => own.length === 4)).toBe(true);
    expect(byUser.size).toBeGreaterThan(25);
    expect(byUser.size).toBeLessThan(75);

    const timesMs = half.received.map(({ atMs }) => atMs);
    expect(countEarly(timesMs, fromMs, 100)).toBe(0);
    expect(mostInWindow(timesMs, 1_000)).toBeLessThanOrEqual(arrivalBound(100, 1_000, stallMs));
  }, 90_000);

  it("do not wait for each other if one is down", async () => {
    const { all, half } = rig.shadows;
    const before = all.received.length;
    await half.stop();
    const pool = new Pool(rig.frontend, { connections: 5 });
    for (let i = 0; i < 40; i++) {
      const headers = { cookie: `user=u${i}` };
      await (await pool.request({ method: "GET", path: `/api/v1/users/late/${i}`, headers })).body.dump();
    }
    await pool.close();
    await until(() => all.received.length === before + 40);
    await until(async () => (await rig.hostStats()).targets.half.messages !== 0);
    await half.start();
    expect(addsUp(await rig.settledLedger())).toBe(true);
  }, 90_000);
});
