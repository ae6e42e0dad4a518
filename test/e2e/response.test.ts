import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { CapturedRequest } from "../../relay/pack/captured-request.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { packIn } from "../support/data/packs.ts";
import { haproxyModes } from "../support/processes/haproxy-modes.ts";
import { Rig } from "../support/processes/rig.ts";

const slowMs = 120;
let primary: Server;
let rig: Rig;
let client: Client;

/** Answers /…/404/… with 404 and the body `answer`; paths with `slow` after `slowMs`. */
beforeAll(async () => {
  primary = createServer(async (request, response) => {
    request.resume();
    await once(request, "end");
    if (request.url?.includes("slow")) await sleep(slowMs);
    response.writeHead(Number(/\/(\d{3})\//.exec(request.url ?? "")?.[1] ?? 200)).end("answer");
  });
  await once(primary.listen(0, "127.0.0.1"), "listening");
});

afterAll(() => {
  primary.close();
  primary.closeAllConnections();
});

afterEach(async () => {
  await client?.close();
  await rig?.stop();
});

describe.each(haproxyModes)("mirroring on the response with mode $mode", ({ configure }) => {
  it("captures the primary's status and time with the whole request", async () => {
    await start(configure);
    // Without a host, the packs stay in the queue for this test.
    rig.hosts[0].kill("SIGKILL");
    const bodies = ["", "{}", randomBytes(14_000), randomBytes(100_000)].map((body) => Buffer.from(body));
    const sent = [
      { method: "GET", path: "/api/v1/200/a?q=%20&flag", body: bodies[0] },
      { method: "PURGE", path: "/api/v1/404/b", body: bodies[1] },
      { method: "POST", path: "/api/v1/503/slow", body: bodies[2] },
      { method: "PUT", path: "/api/v1/201/cut", body: bodies[3] },
      { method: "GET", path: "/api/v3/200/unwanted", body: bodies[0] },
    ];
    for (const request of sent) await exchange(request);

    const captured = await capturedRequests(4);
    expect(captured.map(({ method, path }) => ({ method, path }))).toEqual(
      sent.slice(0, 4).map(({ method, path }) => ({ method, path })),
    );
    expect(captured.map(({ primary: answer }) => answer?.status)).toEqual([200, 404, 503, 201]);
    const times = captured.map(({ primary: answer }) => answer?.timeMs as number);
    expect(times[2]).toBeGreaterThanOrEqual(slowMs - 2);
    for (const timeMs of times) expect(timeMs).toBeLessThan(slowMs + 5_000);
    for (const timeMs of times) expect(timeMs).toBeGreaterThanOrEqual(0);
    for (const [i, { headers, body, bodyState, version, src, id }] of captured.entries()) {
      expect(headers.slice(headers.indexOf("x-tag"), headers.indexOf("x-tag") + 4)).toEqual([
        "x-tag",
        "1",
        "x-tag",
        "2",
      ]);
      expect({ bodyState, version, src }).toEqual({
        bodyState: i === 3 ? "truncated" : "complete",
        version: "1.1",
        src: "127.0.0.1",
      });
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
      expect(Buffer.from(body).equals(bodies[i].subarray(0, body.length))).toBe(true);
      if (i < 3) expect(body.length).toBe(bodies[i].length);
    }
  });

  it("marks a body that does not fit into HAProxy's variables as truncated", async () => {
    await start((text) => (configure?.(text) ?? text).replace(/^global$/m, "global\n    tune.vars.txn-max-size 4096"));
    rig.hosts[0].kill("SIGKILL");
    for (const bytes of [1_000, 9_000]) {
      await exchange({ method: "POST", path: `/api/v1/200/${bytes}`, body: randomBytes(bytes) });
    }
    const captured = await capturedRequests(2);
    expect(captured.map(({ bodyState, body }) => [bodyState, body.length])).toEqual([
      ["complete", 1_000],
      ["truncated", 0],
    ]);
  });

  it("sends requests unchanged to the shadow, and the ledger adds up", async () => {
    await start(configure);
    const body = randomBytes(9_000);
    for (let i = 0; i < 50; i++) await exchange({ method: "POST", path: `/api/v1/${200 + (i % 2) * 300}/${i}`, body });
    expect(addsUp(await rig.settledLedger())).toBe(true);
    const { received } = rig.shadows.shadow;
    expect(received.length).toBe(50);
    expect(received.every((request) => request.method === "POST" && request.body.equals(body))).toBe(true);
  });
});

async function start(configure?: (text: string) => string): Promise<void> {
  rig = await Rig.start({
    targets: { shadow: "rate: unlimited" },
    example: "haproxy-response.cfg",
    haproxy: { RELAY_PRIMARY: `127.0.0.1:${(primary.address() as AddressInfo).port}` },
    ...(configure && { configure }),
  });
  client = new Client(rig.frontend);
}

async function exchange({ method, ...request }: { method: string; path: string; body: Buffer }): Promise<void> {
  const headers = ["x-tag", "1", "x-tag", "2"];
  const answer = await client.request({ method: method as "GET", headers, ...request });
  expect({ status: answer.statusCode, body: await answer.body.text() }).toEqual({
    status: Number(/\/(\d{3})\//.exec(request.path)?.[1]),
    body: "answer",
  });
}

/** The first requests in the agent's queue. */
async function capturedRequests(count: number): Promise<CapturedRequest[]> {
  const queue = EmbeddedQueue.open({ directory: join(rig.directory, "data"), name: ingressQueue });
  const requests: CapturedRequest[] = [];
  const signal = AbortSignal.timeout(30_000);
  while (requests.length < count && !signal.aborted) {
    const deliveries = await queue.receive({ max: 10, waitMs: 1_000, visibilityMs: 60_000, signal });
    requests.push(...deliveries.flatMap((delivery) => packIn(delivery).requests));
  }
  queue.close();
  return requests;
}
