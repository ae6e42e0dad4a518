import { describe, expect, it } from "vitest";
import { importAll } from "../../support/data/imports.ts";

const noAnswer = "blocked, failed or aborted: no response";
const fromCache = "answered from the browser's cache";
const fromWorker = "answered by a service worker";
const upgrade = "a WebSocket or another upgrade";
const notHttp = "not an http or https URL";

interface Entry {
  readonly request?: object;
  readonly response?: object | undefined;
  readonly [field: string]: unknown;
}

describe("an entry of a HAR file", () => {
  it.each<[string, Entry, string]>([
    ["blocked in Chrome", { response: { status: 0, _error: "net::ERR_BLOCKED_BY_CLIENT" } }, noAnswer],
    ["blocked, with the error at the entry", { response: {}, _error: "net::ERR_BLOCKED_BY_CLIENT" }, noAnswer],
    ["failed", { response: { status: -1 } }, noAnswer],
    ["failed, with a status of text", { response: { status: "0" } }, noAnswer],
    ["from Chrome's disk cache", { response: { status: 200 }, _fromCache: "disk" }, fromCache],
    ["from Chrome's memory cache", { response: { status: 200 }, _fromCache: "memory" }, fromCache],
    ["from Safari's cache, without a time", { startedDateTime: "", _fetchType: "Memory Cache" }, fromCache],
    [
      "from a cache of the worker",
      { response: { status: 200, _serviceWorkerResponseSource: "cache-storage" } },
      fromWorker,
    ],
    [
      "a redirect of the browser",
      { response: { status: 307, statusText: "Internal Redirect" } },
      "redirected by the browser itself (HSTS)",
    ],
    [
      "a redirect because of HSTS",
      { response: { status: 307, headers: [{ name: "Non-Authoritative-Reason", value: "HSTS" }] } },
      "redirected by the browser itself (HSTS)",
    ],
    ["a WebSocket", { request: { url: "wss://a/socket" } }, upgrade],
    ["a WebSocket with an http URL", { request: { url: "https://a/socket" }, response: { status: 101 } }, upgrade],
    ["messages of a WebSocket", { _webSocketMessages: [] }, upgrade],
    [
      "an upgrade",
      {
        request: {
          headers: [
            { name: "Upgrade", value: "websocket" },
            { name: "Connection", value: "Upgrade" },
          ],
        },
      },
      upgrade,
    ],
    ["CONNECT to a URL", { request: { method: "CONNECT", url: "https://a:443" } }, "CONNECT, which opens a tunnel"],
    ["CONNECT to a host", { request: { method: "CONNECT", url: "a:443" } }, "CONNECT, which opens a tunnel"],
    ["data:", { request: { url: "data:text/plain,a" } }, notHttp],
    ["blob:", { request: { url: "blob:https://a/1-2" } }, notHttp],
    ["file:", { request: { url: "file:///etc/passwd" } }, notHttp],
    ["ftp:", { request: { url: "ftp://a/b" } }, notHttp],
    ["an extension", { request: { url: "chrome-extension://abc/x.js" } }, notHttp],
    ["about:blank, without a time", { startedDateTime: null, request: { url: "about:blank" } }, notHttp],
  ])("is left out if it is %s", async (_case, entry, reason) => {
    const { requests, leftOut, mistakes } = await importEntries({}, entry, {});

    expect({ leftOut, mistakes, count: requests.length }).toEqual({ leftOut: [reason], mistakes: [], count: 2 });
  });

  it.each<[string, Entry]>([
    ["answered by a server after a check", { response: { status: 304 } }],
    ["without a response", { response: undefined }],
    ["sent by a service worker", { response: { status: 200, _fetchedViaServiceWorker: true } }],
    ["an answer that was cut off", { response: { status: 200, _error: "net::ERR_HTTP2_PROTOCOL_ERROR" } }],
    ["a redirect of a server", { response: { status: 307, statusText: "Temporary Redirect" } }],
    ["without an error", { response: { status: 200, _error: null } }],
    ["not from a cache", { response: { status: 200 }, _fromCache: null, _fetchType: "Network Load" }],
  ])("is imported if it is %s", async (_case, entry) => {
    expect((await importEntries(entry)).requests).toHaveLength(1);
  });

  it.each([
    ["http://a/é?q=ü€", "/%C3%A9?q=%C3%BC%E2%82%AC"],
    ["http://a/b c", "/b%20c"],
    ["http://a/😀", "/%F0%9F%98%80"],
    ["HTTP://a/%zz/../x%2e", "/%zz/../x%2e"],
    ["http://a", "/"],
    ["http://a?x=1", "/?x=1"],
    ["http://user:secret@a/x#y", "/x"],
    ["/x", "/x"],
  ])("has the URL %s with the path %s", async (url, path) => {
    expect((await importEntries({ request: { url } })).requests.map((request) => request.path)).toEqual([path]);
  });

  it.each([
    ["http://user:secret@Shop.example:80/x", [], ["host", "shop.example"]],
    ["https://shop.example:8443/x", [], ["host", "shop.example:8443"]],
    ["http://münchen.example/", [], ["host", "xn--mnchen-3ya.example"]],
    ["https://a/", [":authority", "b", ":path", "/", "x", "y"], ["host", "b", "x", "y"]],
    ["https://a/", ["x", ":authority", "Host", "b"], ["x", ":authority", "Host", "b"]],
  ])("for %s has the right Host header", async (url, pairs, headers) => {
    const { requests } = await importEntries({ request: { url, headers: toList(pairs) } });

    expect(requests[0].headers).toEqual(headers);
  });

  it.each([
    ["HTTP/2", ["cookie", "a=1; b=2; c=3", "x", "y"]],
    ["h3-29", ["cookie", "a=1; b=2; c=3", "x", "y"]],
    ["HTTP/1.1", ["cookie", "a=1; b=2", "x", "y", "Cookie", "c=3"]],
  ])("of %s has its cookies as HTTP/1 sends them", async (httpVersion, headers) => {
    const pairs = ["cookie", "a=1; b=2", "x", "y", "Cookie", "c=3"];
    const { requests } = await importEntries({ request: { httpVersion, headers: toList(pairs) } });

    expect(requests[0].headers.slice(2)).toEqual(headers);
  });

  it.each([
    ["http/1.1", "1.1"],
    ["HTTP/1.0", "1.0"],
    ["h2", "2.0"],
    ["HTTP/2", "2.0"],
    ["http/2+quic/46", "2.0"],
    ["h3", "3.0"],
    ["unknown", ""],
    ["", ""],
  ])("with httpVersion %j has version %j", async (httpVersion, version) => {
    expect((await importEntries({ request: { httpVersion } })).requests[0].version).toBe(version);
  });

  it("has an id of its own, the same in every import of the file, also if it has grown", async () => {
    const { requests } = await importEntries({}, {}, {});
    const grown = await importEntries({}, {}, {}, {});

    expect(new Set(grown.requests.map(({ id }) => id)).size).toBe(4);
    expect(grown.requests.slice(0, 3)).toEqual(requests);
  });
});

function toList(pairs: readonly string[]): object[] {
  return pairs.flatMap((name, i) => (i % 2 === 0 ? [{ name, value: pairs[i + 1] }] : []));
}

function importEntries(...entries: readonly Entry[]): ReturnType<typeof importAll> {
  const all = entries.map(({ request, ...fields }) => ({
    startedDateTime: "2026-01-02T03:04:05Z",
    time: 5,
    request: {
      method: "GET",
      url: "https://shop.example/",
      httpVersion: "HTTP/2",
      headers: [],
      bodySize: 0,
      ...request,
    },
    response: { status: 200 },
    ...fields,
  }));
  return importAll(JSON.stringify({ log: { version: "1.2", entries: all } }));
}
