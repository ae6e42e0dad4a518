import { describe, expect, it } from "vitest";
import { whyUnreplayable } from "../../../relay/rules/unreplayable.ts";

const webSocket = ["Connection", "Upgrade", "Upgrade", "websocket"];

describe("a request", () => {
  it.each<[name: string, headers: readonly string[], expected: string | undefined]>([
    ["for a WebSocket", webSocket, "upgrade"],
    ["with other headers between", ["connection", "keep-alive, Upgrade", "a", "b", "upgrade", "WebSocket"], "upgrade"],
    ["for a tunnel of Docker", ["Upgrade", "tcp", "Connection", "upgrade"], "upgrade"],
    ["for a tunnel of Kubernetes", ["Connection", "Upgrade", "Upgrade", "SPDY/3.1"], "upgrade"],
    ["with a second Connection", ["Connection", "close", ...webSocket], "upgrade"],
    ["that would rather have HTTP/2", ["Connection", "Upgrade", "Upgrade", "h2c, websocket"], "upgrade"],
    ["with two Upgrades", ["Connection", "upgrade", "Upgrade", "h2c", "Upgrade", "websocket"], "upgrade"],
    [
      "of curl --http2",
      ["Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMA"],
      undefined,
    ],
    ["for another version of HTTP", ["Connection", "Upgrade", "Upgrade", "HTTP/2.0, H2"], undefined],
    ["that offers TLS", ["Connection", "Upgrade", "Upgrade", "TLS/1.0, HTTP/1.1"], undefined],
    ["that offers h2 as Apache does", ["Connection", "Upgrade", "Upgrade", "h2,h2c"], undefined],
    ["with a protocol that begins like TLS", ["Connection", "Upgrade", "Upgrade", "tls/socket"], "upgrade"],
    ["of Apache's HttpClient", ["Connection", "Upgrade", "Upgrade", "TLS/1.2"], undefined],
    ["of a printer's client", ["Connection", "Upgrade", "Upgrade", "TLS/1.2,TLS/1.1,TLS/1.0"], undefined],
    ["for a protocol named like TLS", ["Connection", "Upgrade", "Upgrade", "tls-tunnel"], "upgrade"],
    ["whose Connection does not name it", ["Connection", "keep-alive", "Upgrade", "websocket"], undefined],
    ["without Connection", ["Upgrade", "websocket"], undefined],
    ["without Upgrade", ["Connection", "upgrade"], undefined],
    ["with an empty Upgrade", ["Connection", "upgrade", "Upgrade", ""], undefined],
    ["with similar headers", ["Upgrade-Insecure-Requests", "1", "x-connection", "upgrade"], undefined],
    ["without headers", [], undefined],
  ])("%s is an upgrade or not", (_, headers, expected) => {
    expect(whyUnreplayable({ method: "GET", path: "/", headers })).toBe(expected);
  });

  it.each<[method: string, path: string, expected: string | undefined]>([
    ["CONNECT", "example.com:443", "CONNECT"],
    ["CONNECT", "", "CONNECT"],
    ["CONNECT", "/", "CONNECT"],
    ["OPTIONS", "*", "OPTIONS *"],
    ["OPTIONS", "", "OPTIONS *"],
    ["OPTIONS", "/", undefined],
    ["OPTIONS", "/*", undefined],
    ["GET", "*", undefined],
    ["connect", "/", undefined],
  ])("%s %j can be replayed or not", (method, path, expected) => {
    expect(whyUnreplayable({ method, path, headers: [] })).toBe(expected);
  });
});
