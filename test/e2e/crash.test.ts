import { once } from "node:events";
import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Rig } from "../support/processes/rig.ts";

const requests = 600;
let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start({ targets: { shadow: "rate: 200/s" }, host: "  visibility: 2s" });
});

afterAll(async () => {
  await rig?.stop();
});

describe("kill -9 of the host during a replay", () => {
  it("loses no request, and one that is sent twice has the same X-Mirror-Id", async () => {
    const pool = new Pool(rig.frontend, { connections: 20 });
    const send = async (_: unknown, i: number): Promise<void> => {
      const { body } = await pool.request({ method: "GET", path: `/api/v1/crash/${i}` });
      await body.dump();
    };
    await Promise.all(Array.from({ length: requests }, send));
    await pool.close();

    const { shadow } = rig.shadows;
    for (const count of [100, 300]) {
      await until(() => shadow.received.length >= count);
      const host = rig.hosts.at(-1) as NonNullable<(typeof rig.hosts)[number]>;
      host.kill("SIGKILL");
      await once(host, "exit");
      await rig.startHost();
    }
    const ledger = await rig.settledLedger();
    expect(addsUp(ledger)).toBe(true);

    const idsByPath = Map.groupBy(shadow.received, ({ path }) => path);
    expect(idsByPath.size).toBe(requests);
    for (const sent of idsByPath.values())
      expect(new Set(sent.map(({ headers }) => headers["x-mirror-id"])).size).toBe(1);
    expect((await rig.hostStats()).targets.shadow.fates["answered.2xx"]).toBe(requests);
  }, 90_000);
});
