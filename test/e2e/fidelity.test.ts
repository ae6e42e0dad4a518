import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { Client, Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Received } from "../../relay/demo/json-server.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { withRules } from "../support/processes/haproxy-lines.ts";
import { Rig } from "../support/processes/rig.ts";

const rules = [
  "http-request deny if { path_beg /api/v1/denied/ }",
  "http-request set-header x-user 7 if { path_beg /public/ }",
  "http-request replace-path ^/public/(.*) /api/v1/\\1",
];
let rig: Rig;
let client: Client;

beforeAll(async () => {
  rig = await Rig.start({
    targets: { shadow: "rate: unlimited" },
    haproxy: { RELAY_MAXHDR: "512" },
    configure: (text) => withRules(text, rules),
  });
  client = new Client(rig.frontend);
});

afterAll(async () => {
  await client?.close();
  await rig?.stop();
});

describe("a mirrored request", () => {
  it.each([
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "REPORT",
    "QUERY",
    "PURGE",
  ])("keeps the method %s", async (method) => {
    const { primary, shadow } = await mirrored({ method, path: `/api/v1/method/${method}` });
    expect(primary.method).toBe(method);
    expect(shadow.method).toBe(method);
  });

  it("keeps the body of every method", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]) {
      const body = Buffer.from(`body of ${method}`);
      const { shadow } = await mirrored({ method, path: `/api/v1/body/${method}`, body });
      expect(shadow.body).toEqual(body);
      expect(shadow.headers["content-length"]).toBe(String(body.length));
    }
  });

  it("keeps every byte of text in UTF-8 and of binary bodies", async () => {
    const bodies = [
      Buffer.from("Grüße aus 東京 🚀"),
      Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      randomBytes(12_000),
      Buffer.from("\0\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ];
    for (const [i, body] of bodies.entries()) {
      const { shadow } = await mirrored({ method: "POST", path: `/api/v1/bytes/${i}`, body });
      expect(shadow.body.equals(body)).toBe(true);
    }
  });

  it("keeps the query as it was written", async () => {
    const path = "/api/v1/search?q=a%20b+c&q=2&empty=&flag&utf8=%E2%9C%93&slash=/../x;y=1&quote='";
    expect((await mirrored({ method: "GET", path })).shadow.path).toBe(path);
  });

  it("keeps repeated headers, their order and bytes above 0x7f", async () => {
    const sent = [
      "x-tag",
      "one",
      "x-other",
      "middle",
      "x-tag",
      "two",
      "x-empty",
      "",
      "x-latin",
      "caf\u00e9",
      "x-tag",
      "one",
    ];
    const { primary, shadow } = await mirrored({ method: "GET", path: "/api/v1/headers", headers: sent });
    const own = ({ rawHeaders }: Received) =>
      pairs(rawHeaders).filter(([name]) => /^x-(tag|other|empty|latin)$/.test(name));
    expect(own(shadow)).toEqual(pairs(sent));
    expect(own(shadow)).toEqual(own(primary));
  });

  it("keeps the headers that its Connection header names, as the primary receives them", async () => {
    const port = Number(new URL(rig.frontend).port);
    const head = [
      "GET /api/v1/named HTTP/1.1",
      "Host: a",
      "Connection: close, x-named, cookie",
      "X-Named: 1",
      "Cookie: a=b",
    ];
    const socket = connect(port, "127.0.0.1")
      .end(`${head.join("\r\n")}\r\n\r\n`)
      .resume();
    await once(socket, "close");
    const named = ({ path }: Received) => path === "/api/v1/named";
    await until(() => rig.shadows.shadow.received.some(named));
    for (const { received } of [rig.primary, rig.shadows.shadow]) {
      expect(received.find(named)?.headers).toMatchObject({ "x-named": "1", cookie: "a=b" });
    }
  });

  it("keeps all of 300 headers", async () => {
    const sent = Array.from({ length: 300 }, (_, i) => [`x-h-${i}`, `value ${i}`]).flat();
    const { shadow } = await mirrored({ method: "GET", path: "/api/v1/many", headers: sent });
    expect(pairs(shadow.rawHeaders).filter(([name]) => name.startsWith("x-h-"))).toEqual(pairs(sent));
  });

  it("has the X-Mirror headers, with HAProxy's unique id", async () => {
    const { shadow } = await mirrored({ method: "GET", path: "/api/v1/meta" });
    expect(shadow.headers["x-mirror-id"]).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    expect(shadow.headers["x-mirror-target"]).toBe("shadow");
    expect(shadow.headers["x-mirror-attempt"]).toBe("1");
    expect(Date.now() - Date.parse(String(shadow.headers["x-mirror-captured-at"]))).toBeLessThan(60_000);
  });

  it("has the path and the headers that HAProxy's rules give it", async () => {
    const response = await client.request({ method: "GET", path: "/public/shop?q=1", headers: { "x-user": "1" } });
    await response.body.dump();
    const { primary, shadows } = rig;
    const received = ({ received }: { received: Received[] }) =>
      received.find(({ path }) => path === "/api/v1/shop?q=1");
    await until(() => received(shadows.shadow) !== undefined);
    expect(received(primary)?.headers["x-user"]).toBe("7");
    expect(received(shadows.shadow)?.headers["x-user"]).toBe("7");
  });

  it("is not mirrored if HAProxy refuses it", async () => {
    const before = await rig.agentStats();
    const response = await client.request({ method: "GET", path: "/api/v1/denied/1" });
    await response.body.dump();
    expect(response.statusCode).toBe(403);
    // HAProxy keeps the order of one connection: the agent has seen all that came before this one.
    await mirrored({ method: "GET", path: "/api/v1/after-denied" });
    expect((await rig.agentStats()).seen).toBe(before.seen + 1);
  });

  it("is not mirrored a second time", async () => {
    const before = (await rig.agentStats()).looped;
    const response = await client.request({ method: "GET", path: "/api/v1/loop", headers: { "X-Mirror-Id": "1" } });
    await response.body.dump();
    await until(async () => (await rig.agentStats()).looped === before + 1);
    expect(rig.shadows.shadow.received.some(({ path }) => path === "/api/v1/loop")).toBe(false);
  });

  it("is skipped and counted if HAProxy truncated its body", async () => {
    const body = randomBytes(100_000);
    const response = await client.request({ method: "POST", path: "/api/v1/cut", body });
    await response.body.dump();
    await until(async () => (await rig.hostStats()).targets.shadow.fates.skipped === 1);
    expect(rig.primary.received.find(({ path }) => path === "/api/v1/cut")?.body.equals(body)).toBe(true);
    expect(rig.shadows.shadow.received.some(({ path }) => path === "/api/v1/cut")).toBe(false);
  });
});

describe("20,000 POSTs at concurrency 50", () => {
  it("all reach the shadow once, with unchanged bodies", async () => {
    const count = 20_000;
    const pool = new Pool(rig.frontend, { connections: 50 });
    const noise = randomBytes(64 * 1024);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) {
        const size = Math.floor(Math.random() * 14_000);
        const at = Math.floor(Math.random() * (noise.length - size));
        const body = noise.subarray(at, at + size);
        const headers = { "x-sum": sha1(body), "x-number": String(i) };
        const { statusCode, body: answer } = await pool.request({
          method: "POST",
          path: "/api/v1/load",
          headers,
          body,
        });
        await answer.dump();
        if (statusCode !== 200) throw new Error(`the client received status ${statusCode}`);
      }
    };
    await Promise.all(Array.from({ length: 50 }, worker));
    await pool.close();
    expect(addsUp(await rig.settledLedger())).toBe(true);
    const arrived = rig.shadows.shadow.received.filter(({ path }) => path === "/api/v1/load");
    const wrong = arrived.filter(({ headers, body }) => headers["x-sum"] !== sha1(body)).length;
    const numbers = new Set(arrived.map(({ headers }) => headers["x-number"]));
    expect({ wrong, lost: count - numbers.size, twice: arrived.length - numbers.size }).toEqual({
      wrong: 0,
      lost: 0,
      twice: 0,
    });
  }, 120_000);
});

/** Sends a request through HAProxy. Returns the request as the primary and the shadow received it. */
async function mirrored(request: {
  method: string;
  path: string;
  headers?: string[];
  body?: Buffer;
}): Promise<{ primary: Received; shadow: Received }> {
  const { body, ...answer } = await client.request({ ...request, method: request.method as "GET" });
  await body.dump();
  expect(answer.statusCode).toBe(200);
  const shadow = rig.shadows.shadow;
  const own = ({ method, path }: Received) => method === request.method && path === request.path;
  await until(() => shadow.received.some(own));
  return { primary: rig.primary.received.find(own) as Received, shadow: shadow.received.find(own) as Received };
}

function pairs(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i].toLowerCase(), flat[2 * i + 1]]);
}

function sha1(bytes: Uint8Array): string {
  return createHash("sha1").update(bytes).digest("hex");
}
