import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { haproxyNote, nginxNote } from "../../../relay/exchange/access-log.ts";
import { importFormats } from "../../../relay/exchange/imported.ts";
import { importAll } from "../../support/data/imports.ts";

const nginx = read("sample-nginx.log").toString();
const haproxy = read("sample-haproxy.log").toString();

describe("reading an nginx log", () => {
  it("imports method and path, and says what is missing", async () => {
    const { format, note, requests } = await importAll(nginx);

    expect({ format, note }).toEqual({ format: "nginx", note: nginxNote });
    expect(requests[0]).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      index: 0,
      capturedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
      method: "GET",
      path: "/search?q=%C3%A9",
      version: "1.1",
      src: "192.0.2.1",
      headers: [],
      body: new Uint8Array(),
      bodyState: "omitted",
      primary: { status: 200, bytes: 612 },
    });
    expect(requests.slice(1)).toEqual([
      expect.objectContaining({ method: "POST", path: "/orders", version: "2.0", src: "2001:db8::7", index: 1 }),
      expect.objectContaining({ path: '/a"b\\c', index: 2 }),
      expect.objectContaining({ path: "/proxied", version: "1.0", primary: { status: 200 } }),
    ]);
    expect(requests[1].capturedAtMs).toBe(Date.UTC(2026, 0, 2, 3, 4, 6));
    expect(requests[3].capturedAtMs).toBe(Date.UTC(2026, 0, 2, 8, 34, 10));
  });

  it("leaves out lines without a request that can be sent again, and counts them by reason", async () => {
    const more = [
      "-",
      "CONNECT shop.example:443 HTTP/1.1",
      "OPTIONS * HTTP/1.1",
      "PRI * HTTP/2.0",
      "GET x HTTP/1.1",
    ].map((request) => `192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "${request}" 400 0 "-" "-"\n`);
    const upgrade = '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET /socket HTTP/1.1" 101 5 "-" "-"\n';
    const { leftOut, mistakes } = await importAll(nginx + more.join("") + upgrade, { name: "access.log" });

    expect(mistakes).toEqual([]);
    expect(leftOut).toEqual([
      "the client sent no valid request",
      "the client sent no valid request",
      "a line of another log, or an event",
      "the client sent no valid request",
      "CONNECT, which opens a tunnel",
      "OPTIONS *, which asks about the server itself",
      "the client sent no valid request",
      "the path does not begin with /",
      "a WebSocket or another upgrade",
    ]);
  });

  it("names damaged lines", async () => {
    const { mistakes } = await importAll(`${nginx}192.0.2.1 - - [02/Jan/2026:03:0`, { name: "access.log" });

    expect(mistakes).toEqual(["access.log:8: the line is not in nginx's combined format"]);
  });

  it.each([
    ["a syslog daemon", "<190>Jan  2 03:04:05 web1 nginx: ", ""],
    ["Apache's common format", "", ""],
    ["HAProxy's httplog clf", "", ' "" "" 33317 655 in b s 0 0 0 1 1 ---- 1 1 0 0 0 0 0 "" ""'],
    ["Windows", "", "\r"],
  ])("reads the lines of %s", async (_case, before, after) => {
    const { requests, mistakes } = await importAll(
      `${before}192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5${after}\n`,
    );

    expect(mistakes).toEqual([]);
    expect(requests).toEqual([expect.objectContaining({ path: "/", src: "192.0.2.1" })]);
  });
});

describe("reading an HAProxy log", () => {
  it("imports method and path, with and without captured headers, and from httpslog", async () => {
    const { format, note, requests } = await importAll(haproxy);

    expect({ format, note }).toEqual({ format: "haproxy", note: haproxyNote });
    expect(requests.map(({ method, path, version, src, primary }) => [method, path, version, src, primary])).toEqual([
      ["GET", "/index.html?a=#", "1.1", "10.0.1.2", { status: 200, timeMs: 109, bytes: 2750 }],
      ["POST", "/orders", "2.0", "2001:db8::7", { status: 503, timeMs: 2, bytes: 217 }],
      ["DELETE", "/a", "1.1", "", { status: 204, timeMs: 1, bytes: 70 }],
      ["GET", "/tls", "1.1", "10.0.1.2", { status: 200, timeMs: 3, bytes: 70 }],
    ]);
    expect(requests[0]).toMatchObject({
      capturedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 655),
      bodyState: "omitted",
      headers: [],
    });
  });

  it("leaves out events and connections without a valid request, and names the lines that are cut off", async () => {
    const tcp = "10.0.1.2:33317 [02/Jan/2026:03:04:05.655] fnt bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0\n";
    const events = [
      tcp,
      "10.0.1.2:33317 [02/Jan/2026:03:04:05.655] fnt/1: SSL handshake failure\n",
      "Jan  2 03:04:05 lb1 haproxy[14389]: Server app/srv1 is DOWN, reason: Layer4 connection problem\n",
      "Jan  2 03:04:05 lb1 haproxy[14389]: Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/HTTP)\n",
    ];
    const { leftOut, mistakes } = await importAll(haproxy + events.join(""), { name: "haproxy.log" });

    expect(mistakes).toEqual(["haproxy.log:6: the line is cut off within the request"]);
    expect(leftOut).toEqual([
      "a line of another log, or an event",
      "the client sent no valid request",
      ...events.map(() => "a line of another log, or an event"),
    ]);
  });

  it.each([
    ["02/Jan/2026:03:04:05.000", "Europe/Berlin", "2026-01-02T02:04:05.000Z"],
    ["02/Jul/2026:03:04:05.000", "Europe/Berlin", "2026-07-02T01:04:05.000Z"],
    ["02/Jul/2026:03:04:05.000", "Asia/Kolkata", "2026-07-01T21:34:05.000Z"],
    ["25/Oct/2026:02:30:00.000", "Europe/Berlin", "2026-10-25T00:30:00.000Z"],
    ["29/Mar/2026:02:30:00.000", "Europe/Berlin", "2026-03-29T01:30:00.000Z"],
    ["29/Mar/2026:03:00:00.000", "Europe/Berlin", "2026-03-29T01:00:00.000Z"],
    ["08/Mar/2026:01:59:59.999", "America/New_York", "2026-03-08T06:59:59.999Z"],
  ])("reads %s as a local time in %s", async (time, timeZone, moment) => {
    const line = haproxy.split("\n")[1].replace(/\[02[^\]]*\]/, `[${time}]`);
    const { requests } = await importAll(line, { timeZone });

    expect(new Date(requests[0].capturedAtMs).toISOString()).toBe(moment);
  });

  it("refuses an unknown time zone", async () => {
    await expect(importAll(haproxy, { timeZone: "Europe/Atlantis" })).rejects.toThrow(RangeError);
  });
});

describe("reading any log", () => {
  it.each([1, 2, 3, 7, 500])("reads the same from chunks of %i bytes", async (chunkBytes) => {
    expect(await importAll(nginx, {}, chunkBytes)).toEqual(await importAll(nginx));
    expect(await importAll(haproxy, {}, chunkBytes)).toEqual(await importAll(haproxy));
  });

  it("skips a line that is longer than any server writes", async () => {
    const long = Buffer.alloc(10_000_000, "a");
    const run = await importAll(Buffer.concat([Buffer.from(nginx), long, Buffer.from(`\n${nginx}`)]));

    expect(run.requests).toHaveLength(8);
    expect(run.mistakes).toContain("file:8: the line is longer than 256 KiB");
  });

  it.each([
    ["colons", ": a b ".repeat(40_000)],
    ["brackets", `a - ${"[".repeat(200_000)}`],
    ["quotes", `a - - [02/Jan/2026:03:04:05 +0000] "${'\\"'.repeat(100_000)}`],
    ["ports", "a:1 [".repeat(50_000)],
  ])("takes no quadratic time for a line full of %s", async (_case, line) => {
    const before = process.cpuUsage();
    await importAll(line, { format: "nginx" });
    await importAll(line, { format: "haproxy" });

    expect(process.cpuUsage(before).user).toBeLessThan(5_000_000);
  });

  it("turns any bytes into requests and mistakes, in any assumed format", async () => {
    const line = fc.oneof(fc.constantFrom(...nginx.split("\n"), ...haproxy.split("\n")), fc.string({ unit: "binary" }));
    const format = fc.constantFrom(...importFormats, undefined);
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.uint8Array(), fc.nat(400), format, async (lines, bytes, cut, as) => {
        const text = lines.map((each) => each.slice(0, cut)).join("\n");
        const run = await importAll(Buffer.concat([Buffer.from(text), bytes]), as && { format: as });
        expect(run.requests.every(({ method, path }) => method !== "" && path !== "")).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the order of imported requests", () => {
  it("is by time, and by line if times are equal", async () => {
    const lines = ["05.300", "05.100", "05.200", "05.100"].map((second, i) =>
      haproxy.split("\n")[1].replace("04:05.655", `04:${second}`).replace("/index", `/${i}-index`),
    );
    const { requests } = await importAll(lines.join("\n"));

    expect(requests.map(({ path }) => path.slice(0, 3))).toEqual(["/1-", "/3-", "/2-", "/0-"]);
    expect(requests.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  });

  it("is by time in a file that is too long to sort in memory", async () => {
    const minute = (i: number) => new Date(Date.UTC(2026, 0, 2) + i * 1_000).toISOString();
    // Each line is up to 5,000 lines away from its sorted place.
    const seconds = Array.from({ length: 60_000 }, (_, i) => (i % 5_000) * -1 + 4_999 + Math.floor(i / 5_000) * 5_000);
    const lines = seconds.map(
      (i) => `192.0.2.1 - - [02/Jan/2026:${minute(i).slice(11, 19)} +0000] "GET /${i} HTTP/1.1" 200 5`,
    );
    const { requests } = await importAll(lines.join("\n"));

    expect(requests.map(({ path }) => path)).toEqual(seconds.map((_, i) => `/${i}`));
  });
});

describe("detecting the format of a file", () => {
  it.each([
    ["nothing", ""],
    ["text", "hello\nworld\n"],
    ["zeros", Buffer.alloc(100_000)],
  ])("says that the format of %s is unknown", async (_case, content) => {
    expect(await importAll(content)).toMatchObject({
      format: undefined,
      requests: [],
      mistakes: [
        expect.stringMatching(/^file: unknown format: neither a GoReplay file, a HAR, nor an nginx or HAProxy log/),
      ],
    });
  });

  it("uses the format that the caller names", async () => {
    expect(await importAll("hello\n", { format: "nginx" })).toMatchObject({
      format: "nginx",
      mistakes: ["file:1: the line is not in nginx's combined format"],
    });
  });

  it.each(["utf16le", "utf16be"])("says that a file is %s", async (charset) => {
    for (const text of ["\ufeff{}", '{"log":{}}', "1 a 1000000\n"]) {
      const bytes = Buffer.from(text, "utf16le");
      const run = await importAll(charset === "utf16be" ? bytes.swap16() : bytes, { format: "har" });

      expect(run.mistakes).toEqual([expect.stringContaining("the file is UTF-16; convert it to UTF-8 first")]);
    }
  });

  it("reads any format after a byte order mark", async () => {
    for (const text of [nginx, haproxy, "1 a 1000000 0\nGET / HTTP/1.1\r\n\r\n\n🐵🙈🙉\n"]) {
      const { requests, mistakes, format } = await importAll(text);
      const marked = await importAll(`\ufeff${text}`);

      expect(marked.requests).toEqual(requests);
      expect(marked.mistakes).toHaveLength(mistakes.length);
      expect(marked.format).toBe(format);
    }
  });

  it("recognises a log after lines of another kind, and a HAR after a byte order mark", async () => {
    expect((await importAll(`hello\n\n${nginx}`)).format).toBe("nginx");
    expect(await importAll('\ufeff\n{"log":{"entries":[]}}')).toMatchObject({ format: "har", mistakes: [] });
  });
});

function read(name: string): Buffer {
  return readFileSync(new URL(`../../fixtures/${name}`, import.meta.url));
}
