import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { addsUp } from "../../../relay/stats/ledger-equations.ts";
import { until } from "../../support/clocks/until.ts";
import { Rig } from "../../support/processes/rig.ts";

let rig: Rig;

beforeAll(async () => {
  rig = await Rig.start({
    targets: { shadow: "rate: unlimited, headers: { set: { x-forwarded-for: { src: true } } }" },
    // Everything is mirrored: CONNECT and `OPTIONS *` have no path that a condition could select.
    configure: (text) => text.replace(/^( *event \S+) if .*$/m, "$1"),
  });
});

afterAll(() => rig?.stop());

it("counts upgrades, CONNECT and OPTIONS *, and mirrors the rest with the client's address", async () => {
  const before = await rig.agentStats();
  const webSocket = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13";

  await exchange(`GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n${webSocket}`);
  await exchange("POST /exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0");
  await exchange("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443");
  await exchange("OPTIONS * HTTP/1.1\r\nHost: a");
  await extendedConnect("/socket-of-http2");
  await exchange(
    "GET /h2c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA",
  );
  await exchange("OPTIONS /preflight HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9");

  const { received } = rig.shadows.shadow;
  const isOwn = ({ path }: { readonly path: string }) => !path.startsWith("/api/v3/ready");
  await until(() => received.filter(isOwn).length === 2);
  expect(addsUp(await rig.settledLedger())).toBe(true);
  const arrived = received.filter(isOwn).map(({ method, path, headers }) => [path, method, headers["x-forwarded-for"]]);
  expect(arrived.sort()).toEqual([
    ["/h2c", "GET", "127.0.0.1"],
    ["/preflight", "OPTIONS", "127.0.0.1"],
  ]);
  const { upgrade, unreplayable, unusable } = await rig.agentStats();
  expect({ upgrade, unreplayable, unusable }).toEqual({
    upgrade: (before.upgrade ?? 0) + 3,
    unreplayable: { CONNECT: 1, "OPTIONS *": 1 },
    unusable: {},
  });
  expect((await rig.hostStats()).targets.shadow.fates.deadLettered).toBe(0);
});

/** Sends a request and waits for an answer, or for the end of the connection. */
async function exchange(head: string): Promise<void> {
  const socket = connect(Number(new URL(rig.frontend).port), "127.0.0.1");
  socket.on("error", () => {});
  socket.write(`${head}\r\n\r\n`);
  await Promise.race([once(socket, "data"), once(socket, "close")]);
  socket.destroy();
}

/** A WebSocket of HTTP/2 (RFC 8441), which HAProxy turns into an upgrade of HTTP/1. */
async function extendedConnect(path: string): Promise<void> {
  const session = connectHttp2(rig.frontend);
  await once(session, "remoteSettings");
  const stream = session.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": path, ":scheme": "http" });
  stream.on("error", () => {});
  await Promise.race([once(stream, "response"), once(stream, "close")]);
  session.destroy();
}
