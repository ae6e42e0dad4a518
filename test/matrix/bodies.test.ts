import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { Client } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import type { Received } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { haproxyModes } from "../support/processes/haproxy-modes.ts";
import { Rig } from "../support/processes/rig.ts";

const sizes = [0, 1, 15_000, 100_000, 1_000_000];
const bodies = sizes.map((bytes) => randomBytes(bytes));
const ways = ["sized", "chunked"];
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
    for (const way of ways) {
      for (const [i, bytes] of bodies.entries()) {
        const body = way === "chunked" ? Readable.from([bytes]) : bytes;
        const answer = await client.request({ method: "POST", path: `/api/v1/${way}/${i}`, body });
        await answer.body.dump();
        expect(answer.statusCode).toBe(200);
      }
    }
    await client.close();
    expect(addsUp(await rig.settledLedger())).toBe(true);

    const { primary, shadows } = rig;
    const isWhole = ({ path, body }: Received) => body.equals(bodies[Number(path.at(-1))]);
    expect(primary.received.map(({ path }) => path)).toEqual(paths(0, sizes.length));
    expect(primary.received.every(isWhole)).toBe(true);
    expect(shadows.shadow.received.map(({ path }) => path).sort()).toEqual(paths(0, row.whole).sort());
    expect(shadows.shadow.received.every(isWhole)).toBe(true);
    const { fates } = (await rig.hostStats()).targets.shadow;
    expect({ answered: fates["answered.2xx"], skipped: fates.skipped }).toEqual({
      answered: ways.length * row.whole,
      skipped: ways.length * (sizes.length - row.whole),
    });
    const marked = shadows.cut.received.filter(({ headers }) => headers["x-mirror-truncated"] === "true");
    expect(marked.map(({ path }) => path).sort()).toEqual(paths(row.whole, sizes.length).sort());
    for (const { path, body } of marked) {
      expect(body.length).toBeGreaterThan(row.bufsize - 2_048);
      expect(body.equals(bodies[Number(path.at(-1))].subarray(0, body.length))).toBe(true);
    }
  });
});

function paths(from: number, to: number): string[] {
  return ways.flatMap((way) => sizes.map((_, i) => `/api/v1/${way}/${i}`).slice(from, to));
}
