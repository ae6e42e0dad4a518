import { randomBytes } from "node:crypto";
import { Client } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/balance.ts";
import { haproxyModes } from "../support/haproxy-modes.ts";
import { Rig } from "../support/rig.ts";

const sizes = [0, 1, 15_000, 100_000, 1_000_000];
const bodies = sizes.map((bytes) => randomBytes(bytes));
let rig: Rig;

afterEach(async () => {
  await rig?.stop();
});

describe.each(haproxyModes)("with mode $mode", ({ configure }) => {
  it.each([
    { bufsize: 16_384, whole: 3 },
    { bufsize: 131_072, whole: 4 },
    { bufsize: 2_097_152, whole: 5 },
  ])("buffers of $bufsize bytes mirror the $whole smaller ones of 5 bodies, and mark the others", async (row) => {
    rig = await Rig.start({
      targets: { shadow: "rate: unlimited", cut: "rate: unlimited, truncated: send" },
      haproxy: { RELAY_BUFSIZE: String(row.bufsize) },
      ...(configure && { configure }),
    });
    const client = new Client(rig.frontend);
    for (const [i, body] of bodies.entries()) {
      const answer = await client.request({ method: "POST", path: `/api/v1/body/${i}`, body });
      await answer.body.dump();
      expect(answer.statusCode).toBe(200);
    }
    await client.close();
    expect(addsUp(await rig.settledLedger())).toBe(true);

    const { primary, shadows } = rig;
    const isWhole = ({ path, body }: (typeof primary.received)[number]) => body.equals(bodies[Number(path.at(-1))]);
    expect(primary.received.map(isWhole)).toEqual(bodies.map(() => true));
    expect(shadows.shadow.received.map(isWhole)).toEqual(bodies.slice(0, row.whole).map(() => true));
    const { fates } = (await rig.hostStats()).targets.shadow;
    expect({ answered: fates["answered.2xx"], skipped: fates.skipped }).toEqual({
      answered: row.whole,
      skipped: sizes.length - row.whole,
    });
    const marked = shadows.cut.received.filter(({ headers }) => headers["x-mirror-truncated"] === "true");
    expect(marked.map(({ path }) => Number(path.at(-1)))).toEqual([0, 1, 2, 3, 4].slice(row.whole));
    for (const { path, body } of marked) {
      expect(body.length).toBeGreaterThan(row.bufsize - 2_048);
      expect(body.equals(bodies[Number(path.at(-1))].subarray(0, body.length))).toBe(true);
    }
  });
});
