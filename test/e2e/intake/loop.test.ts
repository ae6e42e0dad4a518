import { Pool } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../../support/clocks/until.ts";
import { Rig } from "../../support/processes/rig.ts";

let rig: Rig | undefined;

afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

describe("a target that is the mirrored HAProxy itself", () => {
  it("gets each request once, and nothing goes round", async () => {
    rig = await Rig.start({ targets: { self: "rate: unlimited" }, loop: true });
    await sendTen(rig, {});
    await settled(rig, 10);

    // Without a key, a client that sends the header is not mirrored.
    await sendTen(rig, { "x-mirror-id": "mine" });
    const { seen, looped, enqueued } = await settled(rig, 10);
    expect({ seen, looped, enqueued }).toEqual({ seen: 30, looped: 20, enqueued: 10 });
    expect(rig.primary.received).toHaveLength(30);
  });

  it("gets with a key what clients send with forged ids, too, and nothing goes round", async () => {
    rig = await Rig.start({ targets: { self: "rate: unlimited" }, loop: true, top: "loopKey: a-key-of-this-test" });
    await sendTen(rig, {});
    await sendTen(rig, { "x-mirror-id": "mine" });
    await settled(rig, 20);

    // A signed id that somebody has seen, and one with another signature.
    const [signed] = rig.primary.received.flatMap(({ headers }) => headers["x-mirror-id"] ?? []).filter(isSigned);
    await sendTen(rig, { "x-mirror-id": signed });
    await sendTen(rig, { "x-mirror-id": `${signed.slice(0, -4)}AAAA` });
    const { seen, looped, enqueued } = await settled(rig, 30);
    expect({ seen, looped, enqueued }).toEqual({ seen: 70, looped: 40, enqueued: 30 });
    expect(rig.primary.received).toHaveLength(70);
  });
});

function isSigned(id: string): boolean {
  return id !== "mine";
}

async function sendTen({ frontend }: Rig, headers: Readonly<Record<string, string>>): Promise<void> {
  const pool = new Pool(frontend);
  for (let i = 0; i < 10; i++) {
    const { body } = await pool.request({ method: "GET", path: `/api/v1/loop/${i}`, headers });
    await body.dump();
  }
  await pool.close();
}

/** Resolves with the agent's figures once that many requests were answered and their replays have come back. */
async function settled(rig: Rig, answered: number) {
  await until(async () => (await rig.hostStats()).targets.self.fates["answered.2xx"] >= answered);
  // Whatever went round once more would be answered within this time, too.
  await rig.settledLedger();
  return rig.agentStats();
}
