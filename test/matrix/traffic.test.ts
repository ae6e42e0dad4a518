import { createHash, randomBytes } from "node:crypto";
import { Pool } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { haproxyModes, hasSpopMode } from "../support/processes/haproxy-modes.ts";
import { Rig, type RigOptions } from "../support/processes/rig.ts";

let rig: Rig;
let pool: Pool;

afterEach(async () => {
  await pool?.close();
  await rig?.stop();
});

describe.each(haproxyModes)("with mode $mode", ({ configure = (text) => text }) => {
  it("HAProxy finds the agent up, and mirrors method, query, headers and body", async () => {
    const { primary, shadows } = await start({ configure });
    await until(async () => (await rig.agentsUp()).length === 1);
    const body = Buffer.from('{"name":"Grüße","list":[1,2,3]}\n');
    const path = "/api/v1/things?q=a%20b+c&q=2&empty=&flag";
    await send({
      method: "PATCH",
      path,
      body,
      headers: ["content-type", "application/json", "x-tag", "1", "x-tag", "2"],
    });
    await until(() => shadows.shadow.received.length === 1);
    for (const { method, path: received, body: bytes, headers } of [primary.received[0], shadows.shadow.received[0]]) {
      expect({ method, path: received, tags: headers["x-tag"] }).toEqual({ method: "PATCH", path, tags: "1, 2" });
      expect(headers["content-type"]).toBe("application/json");
      expect(bytes.equals(body)).toBe(true);
    }
    expect(await settled()).toBe(true);
  });

  it("HAProxy mirrors everything once with four threads", async () => {
    const count = 3_000;
    const { shadows } = await start({
      configure: (text) => configure(text).replace(/^global$/m, "global\n    nbthread 4"),
    });
    let next = 0;
    const client = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) {
        const body = randomBytes(Math.floor(Math.random() * 14_000));
        await send({ method: "POST", path: `/api/v1/threads/${i}`, body, headers: ["x-sum", sha1(body)] });
      }
    };
    await Promise.all(Array.from({ length: 32 }, client));
    expect(await settled()).toBe(true);
    const { received } = shadows.shadow;
    expect(received.filter(({ headers, body }) => headers["x-sum"] !== sha1(body))).toEqual([]);
    expect({ arrived: received.length, different: new Set(received.map(({ path }) => path)).size }).toEqual({
      arrived: count,
      different: count,
    });
  });

  it(
    hasSpopMode
      ? "HAProxy drops and logs messages that exceed a frame"
      : "the agent joins messages that exceed a frame",
    async () => {
      const { primary, shadows } = await start({
        configure: (text) => configure(text).replace(/^( *)use-backend .*$/m, "$&\n$1max-frame-size 2048"),
      });
      const bodies = [100, 3_000, 12_000].map((bytes) => randomBytes(bytes));
      for (const [i, body] of bodies.entries()) await send({ method: "POST", path: `/api/v1/large/${i}`, body });
      expect(await settled()).toBe(true);
      const whole = ({ path, body }: { path: string; body: Buffer }) => body.equals(bodies[Number(path.at(-1))]);
      expect(primary.received.map(whole)).toEqual([true, true, true]);
      expect(shadows.shadow.received.map(whole)).toEqual(hasSpopMode ? [true] : [true, true, true]);
      expect(rig.output.match(/<EVENT:on-backend-http-request> sid=\d+ st=3 /g)?.length ?? 0).toBe(hasSpopMode ? 2 : 0);
    },
  );
});

async function start(options: Partial<RigOptions>): Promise<Rig> {
  rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, ...options });
  pool = new Pool(rig.frontend, { connections: 32 });
  return rig;
}

async function send(request: { method: string; path: string; body: Buffer; headers?: string[] }): Promise<void> {
  const { statusCode, body } = await pool.request({ ...request, method: request.method as "GET" });
  await body.dump();
  expect(statusCode).toBe(200);
}

/** Waits until nothing waits any more; resolves with whether the ledger adds up. */
async function settled(): Promise<boolean> {
  return addsUp(await rig.settledLedger());
}

function sha1(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}
