import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import { writeGoreplay } from "../../../relay/exchange/goreplay/goreplay-writer.ts";
import { importRequests } from "../../../relay/exchange/import.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { collect, streamOf } from "../../support/data/byte-chunks.ts";
import { expectedRequest, type RequestParts } from "../../support/data/captured-requests.ts";
import { importAll } from "../../support/data/imports.ts";

const sample = readFileSync(new URL("../../fixtures/sample.gor", import.meta.url));
setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");
const separator = "\n🐵🙈🙉\n";

describe("reading a GoReplay file", () => {
  it("imports requests with the primary's response, and ignores replayed responses", async () => {
    const { format, note, requests, mistakes } = await importAll(sample);

    expect({ format, note, mistakes }).toEqual({ format: "goreplay", note: undefined, mistakes: [] });
    expect(requests.map(({ method, path, index }) => `${index} ${method} ${path}`)).toEqual([
      "0 GET /a?b=%20c",
      "1 POST /orders",
      "2 PUT /upload",
    ]);
    expect(requests[0]).toEqual({
      id: "932079936fa4306fc308d67588178d17d823647c",
      index: 0,
      capturedAtMs: 1439818823587,
      method: "GET",
      path: "/a?b=%20c",
      version: "1.1",
      src: "",
      headers: ["Host", "shop.example", "X-Tag", "a", "x-tag", "b", "X-Empty", ""],
      body: new Uint8Array(),
      bodyState: "complete",
      primary: {
        status: 404,
        timeMs: 2,
        headers: ["Date", "Mon, 17 Aug 2015 13:40:23 GMT", "Content-Length", "0"],
      },
    });
    expect(Buffer.from(requests[1].body).toString()).toBe('{"item":"tea"}');
    expect(requests[1].primary).toBeUndefined();
    expect(Buffer.from(requests[2].body).toString()).toBe("hello world");
  });

  it.each([1, 2, 3, 7, 100])("reads the same from chunks of %i bytes", async (chunkBytes) => {
    expect(await importAll(sample, {}, chunkBytes)).toEqual(await importAll(sample));
  });

  it("unzips several gzip members from chunks of any size", async () => {
    const zipped = Buffer.concat([gzipSync(sample.subarray(0, 300)), gzipSync(sample.subarray(300))]);

    expect(await importAll(zipped)).toEqual(await importAll(sample));
    expect(await importAll(zipped, {}, 1)).toEqual(await importAll(sample));
  });

  it.each([1, 100, 65_536])(
    "reads zeros behind gzip members, and the members behind them, in chunks of %i",
    async (chunkBytes) => {
      const parts = [
        gzipSync(sample.subarray(0, 300)),
        Buffer.alloc(40_000),
        gzipSync(sample.subarray(300)),
        Buffer.alloc(40_000),
      ];

      expect(await importAll(Buffer.concat(parts), {}, chunkBytes)).toEqual(await importAll(sample));
    },
  );

  it("imports the requests of a gzip file up to the point where it is cut off", async () => {
    const requests = Array.from({ length: 500 }, (_, i) => record({ path: `/${i}-${Math.sin(i)}` })).join("");
    const zipped = gzipSync(requests);
    const run = await importAll(zipped.subarray(0, zipped.length / 2), { name: "day.gor.gz" });

    expect(run.requests.length).toBeGreaterThan(100);
    expect(run.mistakes.at(-1)).toBe("day.gor.gz: the gzip data is cut off");
  });

  it("imports the requests of a gzip file up to the damage", async () => {
    const zipped = gzipSync(
      Array.from({ length: 50_000 }, (_, i) => record({ path: `/${i}-${Math.sin(i)}` })).join(""),
    );
    zipped.fill(0xff, zipped.length - 5_000, zipped.length - 4_000);
    const run = await importAll(zipped, { name: "day.gor.gz" });

    expect(run.requests.length).toBeGreaterThan(1_000);
    expect(run.mistakes.at(-1)).toMatch(/^day\.gor\.gz: the gzip data is damaged/);
  });

  it("imports the requests of a small gzip file up to 4 KiB before the damage", async () => {
    const requests = Array.from({ length: 200 }, (_, i) => record({ path: `/${i}-${Math.sin(i)}` }));
    const zipped = gzipSync(requests.join(""));
    zipped[zipped.length - 8] ^= 1;
    const run = await importAll(zipped, { name: "day.gor.gz" });

    expect(run.requests.length).toBeGreaterThan(200 - 4_096 / requests[0].length - 1);
    expect(run.mistakes.at(-1)).toBe("day.gor.gz: the gzip data is damaged");
  });

  it.each([
    ["a record without a header", "GET / HTTP/1.1\n\n", "the record does not begin with kind, id and time"],
    ["a record of another kind", "4 a 1\nx", "the record does not begin with kind, id and time"],
    [
      "a time out of range",
      "1 a 9999999999999999999999999\nGET / HTTP/1.1\n\n",
      "the time of the record is out of range",
    ],
    ["no request line", "1 a 1000000 0\nGET /\r\n\r\n", "the first line is not an HTTP/1 request line"],
    [
      "headers without an empty line at the end",
      "1 a 1000000 0\nGET / HTTP/1.1\r\na: b",
      "no empty line ends the headers",
    ],
    ["a header without a name", "1 a 1000000 0\nGET / HTTP/1.1\r\n: b\r\n\r\n", "a header line has no valid name"],
    [
      "a length that is not a number",
      "1 a 1 0\nGET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
      "the Content-Length is not a number",
    ],
    [
      "bytes after a request without a body",
      "1 a 1 0\nGET / HTTP/1.1\r\n\r\nGET",
      "bytes follow the headers, but the request has neither a Content-Length nor chunks",
    ],
    [
      "a request after a body",
      "1 a 1 0\nPOST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /lost HTTP/1.1\r\n\r\n",
      "more bytes follow after the end of the body",
    ],
    [
      "a request after chunks",
      "1 a 1 0\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /lost HTTP/1.1\r\n\r\n",
      "more bytes follow after the end of the body",
    ],
  ])("skips and reports %s", async (_case, bad, reason) => {
    const good = record({ path: "/good" });
    const run = await importAll(`${good}${bad}${separator}${good}`, { name: "day.gor" });

    expect(run.requests.map(({ path }) => path)).toEqual(["/good", "/good"]);
    expect(run.mistakes).toEqual([`day.gor: record 2 at byte ${Buffer.byteLength(good)}: ${reason}`]);
  });

  it("skips a record that is longer than allowed", async () => {
    const long = record({ headers: ["x", "a".repeat(3_000)] });
    for (const chunkBytes of [1, 500, 10_000]) {
      const run = await importAll(record({}) + long + record({}), { maxRecordBytes: 1_000 }, chunkBytes);

      expect(run.requests).toHaveLength(2);
      expect(run.mistakes).toEqual([
        expect.stringMatching(/^file: record 2 at byte \d+: the record is longer than 1000 bytes$/),
      ]);
    }
  });

  it("reports a last record that is cut off, and reads one that only lacks its separator", async () => {
    const cut = "1 a 1000000 0\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n123";

    expect((await importAll(record({}) + cut)).mistakes).toEqual([expect.stringContaining("the record is cut off")]);
    expect((await importAll(`${record({})}${cut}45`)).requests).toHaveLength(2);
    expect((await importAll(`${record({})}\r\n\n`)).mistakes).toEqual([]);
  });

  it("reads first lines with three or four fields and a trailing space, and trailers after chunks", async () => {
    const chunks = "POST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nExpires: 0\r\n\r\n";
    const run = await importAll(
      `1 a 1000000\nGET /1 HTTP/1.1\r\n\r\n${separator}1 b 2000000 0 \n${chunks}${separator}`,
    );

    expect(run.mistakes).toEqual([]);
    expect(run.requests.map(({ path }) => path)).toEqual(["/1", "/2"]);
  });

  it("marks a body as truncated if it is shorter than its length, and as omitted if it is missing", async () => {
    const text = (body: string) => `1 a 1000000\nPOST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n${body}${separator}`;
    const run = await importAll(text("123") + text("") + text("12345"));

    expect(run.requests.map(({ bodyState }) => bodyState)).toEqual(["truncated", "omitted", "complete"]);
  });

  it("keeps only the path of a request that was sent to a proxy", async () => {
    const run = await importAll(record({ path: "http://shop.example:8080?a" }));

    expect(run.requests.map(({ path }) => path)).toEqual(["/?a"]);
  });

  it("leaves out what cannot be sent again, and counts it by reason", async () => {
    const run = await importAll(
      [
        record({ path: "*", method: "OPTIONS" }),
        record({ path: "shop.example:443", method: "CONNECT" }),
        record({ headers: ["Connection", "Upgrade", "Upgrade", "websocket"] }),
        record({ headers: ["Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c"], path: "/java" }),
        record({ id: "b" }) + response("b", 101),
        `1 c 1000000 0\n${separator}`,
        `1 c 1000000 0\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04${separator}`,
      ].join(""),
    );

    expect(run.mistakes).toEqual([]);
    expect(run.requests.map(({ path }) => path)).toEqual(["/java"]);
    expect(run.leftOut).toEqual([
      "OPTIONS *, which asks about the server itself",
      "CONNECT, which opens a tunnel",
      "a WebSocket or another upgrade",
      "a WebSocket or another upgrade",
      "an empty record",
      "the preface of HTTP/2",
    ]);
  });

  it("matches answers in the order of the requests if a connection has one id", async () => {
    const a = (path: string) => record({ id: "a", path });
    const text = [
      a("/1"),
      a("/2"),
      record({ id: "b", path: "/3" }),
      response("a", 201),
      response("b", 203),
      response("a", 202),
    ];
    const { requests } = await importAll(text.join("") + a("/4") + response("a", 204) + response("a", 500));

    expect(requests.map(({ path, primary }) => [path, primary?.status])).toEqual([
      ["/1", 201],
      ["/2", 202],
      ["/3", 203],
      ["/4", 204],
    ]);
  });

  it("takes no interim answer for the answer, in a record of its own or before it", async () => {
    const interim = (id: string, status: number) =>
      `2 ${id} 5000000 5\nHTTP/1.1 ${status} Interim\r\nLink: a\r\n\r\n${separator}`;
    const both = `2 c 5000000 5\n\r\nHTTP/2 103 Early Hints\r\n\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Error\r\n\r\n${separator}`;
    const text = [
      record({ id: "a", path: "/1" }),
      record({ id: "a", path: "/2" }),
      interim("a", 100),
      response("a", 201),
      interim("a", 103),
      response("a", 202),
      record({ id: "c", path: "/3" }),
      both,
    ];
    const { requests, mistakes } = await importAll(text.join(""));

    expect(mistakes).toEqual([]);
    expect(requests.map(({ path, primary }) => [path, primary?.status])).toEqual([
      ["/1", 201],
      ["/2", 202],
      ["/3", 500],
    ]);
  });

  it("reads a record of a million interim answers, and takes none of them for the answer", async () => {
    const interims = "HTTP/1.1 100 a\n\n".repeat(1_000_000);
    const { requests, mistakes } = await importAll(`${record({ id: "a" })}2 a 5000000 5\n${interims}${separator}`);

    expect(mistakes).toEqual([]);
    expect(requests.map(({ primary }) => primary)).toEqual([undefined]);
  });

  it("takes no answer for that of another request if one is missing in a connection", async () => {
    const exchange = (path: string, sentMs: number, status?: number) =>
      record({ id: "a", path, atMs: sentMs }) + (status === undefined ? "" : response("a", status, sentMs + 5));
    const missing = [exchange("/1", 10, 201), exchange("/2", 20), exchange("/3", 30, 203), exchange("/4", 40, 204)];
    const statuses = async (text: string) =>
      (await importAll(text)).requests.map(({ path, primary }) => [path, primary?.status]);

    expect(await statuses(missing.join(""))).toEqual([
      ["/1", 201],
      ["/2", undefined],
      ["/3", undefined],
      ["/4", undefined],
    ]);
    // The answer came before /2 was sent.
    const late = record({ id: "a", path: "/1", atMs: 10 }) + record({ id: "a", path: "/2", atMs: 20 });
    expect(await statuses(late + response("a", 201, 15))).toEqual([
      ["/1", 201],
      ["/2", undefined],
    ]);
  });

  it("holds no more of a connection in which an answer is missing than of others", async () => {
    const file = async function* () {
      yield Buffer.from(record({ id: "a", atMs: 1 }));
      for (let atMs = 2; atMs <= 150_000; atMs++) {
        yield Buffer.from(record({ id: "a", atMs }) + response("a", 200, atMs));
      }
    };
    const usedBytes = () => {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = usedBytes();
    let [count, held] = [0, 0];
    for await (const item of importRequests(file(), { name: "long.gor" })) {
      if (item.kind === "request" && ++count === 120_000) held = usedBytes() - before;
    }

    expect(count).toBe(150_000);
    expect(held).toBeLessThan(50 * 1024 * 1024);
  });

  it("takes the time to the answer, although GoReplay writes how long it took to arrive", async () => {
    const { requests } = await importAll(record({ atMs: 100 }) + response("a", 200, 180));

    expect(requests[0].primary).toEqual({ status: 200, timeMs: 80 });
  });

  it("leaves out the time to an answer whose time no clock can show", async () => {
    const { requests } = await importAll(record({ atMs: 100 }) + response("a", 200, 176_730_537_206_954_940));

    expect(requests[0].primary).toEqual({ status: 200 });
  });

  it("leaves out the headers of an answer that has more than a capture can hold", async () => {
    const text = record({ id: "a" }) + response("a", 200).replace(/\r\n\r\n/, `\r\n${"a:\r\n".repeat(100_001)}\r\n`);
    const { requests, mistakes } = await importAll(text);

    expect(mistakes).toEqual([]);
    expect(requests[0].primary?.status).toBe(200);
    expect(requests[0].primary?.headers).toBeUndefined();
    expect(toPacks(requests, { agent: "import", sequence: 1 })).toHaveLength(1);
  });

  it("keeps the order of the answers if a request or an answer in between is damaged or left out", async () => {
    const a = (path: string) => record({ id: "a", path });
    const damaged = `1 a 1767323045678000000 0\nGET /\r\n\r\n${separator}`;
    const noStatus = `2 a 1767323045679000000 0\nHTTP/1.1\r\n\r\n${separator}`;
    const connect = record({ id: "a", method: "CONNECT", path: "x:443" });
    const answers = [response("a", 201), response("a", 500), noStatus, response("a", 500), response("a", 204)];
    const run = await importAll([a("/1"), damaged, a("/2"), connect, a("/3"), ...answers].join(""));

    expect(run.requests.map(({ path, primary }) => [path, primary?.status])).toEqual([
      ["/1", 201],
      ["/2", undefined],
      ["/3", 204],
    ]);
    expect(run.mistakes).toHaveLength(2);
  });

  it("gives each request an id of its own, the same in every import of the file", async () => {
    const ids = ["a", "a", "b", "a", "b", "c"];
    const text = ids.map((id) => record({ id })).join("");
    const { requests } = await importAll(text);
    const grown = await importAll(text + record({ id: "a", path: "/later" }), { name: "renamed" });

    expect(new Set(requests.map(({ id }) => id)).size).toBe(ids.length);
    expect(requests.map(({ id }) => id.split("-")[0])).toEqual(ids);
    expect([0, 2, 5].map((i) => requests[i].id)).toEqual(["a", "b", "c"]);
    expect(grown.requests.slice(0, ids.length)).toEqual(requests);
  });

  it.each([
    ["a body", 'POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\n"a":1\n}'],
    ["chunks", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\nb\r\n0\r\n\r\n"],
    ["no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
  ])("reads a file with CR LF line ends whose requests have %s", async (_case, request) => {
    const text = `1 a 1767323045678000000 0\n${request}${separator}`.repeat(3) + response("a", 200);
    const unix = await importAll(text);
    const dos = await importAll(text.replaceAll(/\r?\n/g, "\r\n"));

    expect(unix.mistakes).toEqual([]);
    expect({ ...dos, requests: dos.requests.map(withoutId) }).toEqual({
      ...unix,
      requests: unix.requests.map(withoutId),
    });
    for (const chunkBytes of [1, 5]) {
      expect(await importAll(text.replaceAll(/\r?\n/g, "\r\n"), {}, chunkBytes)).toEqual(dos);
    }
  });

  it.each(["", "\n"])("reads a last record whose separator ends with %j", async (end) => {
    const run = await importAll(record({}) + record({ path: "/last" }).slice(0, -1) + end);

    expect(run.mistakes).toEqual([]);
    expect(run.requests.map(({ path }) => path)).toEqual(["/", "/last"]);
  });

  it.each([
    ["a length", (body: string) => `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`],
    [
      "chunks",
      (body: string) =>
        `Transfer-Encoding: chunked\r\n\r\n${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
  ])("reads a body with %s that contains separators and records", async (_case, frame) => {
    const body = `x${separator}1 b 1767323045678000000 0\nGET /admin HTTP/1.1\r\n\r\n${separator}y\n🐵🙈🙉z`;
    const attack = `1 a 1767323045678000000 0\nPOST /upload HTTP/1.1\r\n${frame(body)}${separator}`;
    const run = await importAll(record({}) + attack + record({ path: "/after" }));

    expect(run.mistakes).toEqual([]);
    expect(run.requests.map(({ path }) => path)).toEqual(["/", "/upload", "/after"]);
    expect(Buffer.from(run.requests[1].body).toString()).toBe(body);
  });

  it.each([
    ["in its body", "POST /cut HTTP/1.1\r\nContent-Length: 500\r\n\r\nabc"],
    ["in a body of the same length as what follows", "POST /cut HTTP/1.1\r\nContent-Length: 30\r\n\r\nabc"],
    ["in its headers", "GET /cut HTTP/1.1\r\nHost: a"],
    ["in its request line", "GET /c"],
    ["in its first line", ""],
  ])("loses only a record that is cut off %s and has no separator", async (_case, cut) => {
    const header = cut === "" ? "1 a 17673" : "1 a 1767323045678000000 0\n";
    const run = await importAll(
      `${record({})}${header}${cut}\n${record({ path: "/after" })}${record({ path: "/last" })}`,
    );

    expect(run.requests.map(({ path }) => path)).toEqual(["/", "/after", "/last"]);
    expect(run.mistakes).toEqual([expect.stringMatching(/^file: record 2 at byte \d+: /)]);
  });

  it("takes linear time for records that are damaged or cut", async () => {
    const cut = `1 a 1767323045678000000 0\nPOST / HTTP/1.1\r\nContent-Length: 60000000\r\n\r\nx${separator}`;
    const chunked = `1 a 1767323045678000000 0\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx${separator}`;
    const nested = "1 a 1767323045678000000 0\nGET / HTTP/1.1\r\nHost\n";
    const before = process.cpuUsage();
    const run = await importAll(cut.repeat(10_000) + chunked.repeat(2_000) + nested.repeat(20_000));

    expect(run.requests).toHaveLength(12_000);
    expect(run.mistakes).toHaveLength(20_000);
    expect(process.cpuUsage(before).user).toBeLessThan(30_000_000);
  });

  it.each([
    ["X-Fold:\r\n b\r\n", "b"],
    ["X-Fold: a\r\n \r\n\tb\r\n", "a b"],
    ["X-Fold: a\r\n \r\n", "a"],
  ])("joins the lines of a folded header without space around it: %j", async (lines, value) => {
    const { requests } = await importAll(`1 a 1767323045678000000 0\nGET / HTTP/1.1\r\n${lines}\r\n${separator}`);

    expect(requests[0].headers).toEqual(["X-Fold", value]);
  });

  it("accepts empty lines before a request, as GoReplay writes them", async () => {
    const run = await importAll(`1 a 1767323045678000000 0 \n\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n${separator}`);

    expect(run.requests.map(({ path }) => path)).toEqual(["/x"]);
  });

  it("keeps the order and the responses of three times as many requests as it holds in memory", async () => {
    const text = Array.from(
      { length: 3_000 },
      (_, i) => record({ id: `r${i}`, path: `/${i}` }) + (i > 0 ? response(`r${i - 1}`, 200) : ""),
    );
    const { requests } = await importAll(text.join(""));

    expect(requests.map(({ index }) => index)).toEqual(Array.from({ length: 3_000 }, (_, i) => i));
    expect(requests.filter(({ primary }) => primary?.status === 200)).toHaveLength(2_999);
  });

  it("turns any bytes into requests and mistakes", async () => {
    const part = fc.oneof(
      fc.constantFrom(
        "1 a 1000000 0\n",
        "2 a 5 5\n",
        separator,
        "\r\n",
        "\n",
        "GET / HTTP/1.1",
        "a: b",
        "5\r\nhello",
        "0\r\n",
      ),
      fc.constantFrom("Content-Length: 3", "Transfer-Encoding: chunked", "HTTP/1.1 200 OK"),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 30 }), fc.uint8Array({ maxLength: 40 }), async (parts, bytes) => {
        const content = Buffer.concat([Buffer.from(parts.join("")), bytes]);
        const run = await importAll(content, { format: "goreplay" });
        expect(await importAll(content, { format: "goreplay" }, 1)).toEqual(run);
        for (const { capturedAtMs, headers } of run.requests) {
          expect(Number.isSafeInteger(capturedAtMs) && headers.every((value, i) => i % 2 === 1 || value !== "")).toBe(
            true,
          );
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("writing a GoReplay file", () => {
  it("writes records as GoReplay does", async () => {
    const written = await write([{ primary: { status: 201, timeMs: 7, headers: ["etag", "x"] } }]);

    expect(written.toString()).toBe(
      "1 4b1d-1 1767323045678000000 0\nPOST /api/v1/orders?dry=1 HTTP/1.1\r\nhost: shop.example\r\nx-tag: a\r\nx-tag: b\r\n" +
        `x-empty: \r\nContent-Length: 14\r\n\r\n{"item":"tea"}${separator}` +
        `2 4b1d-1 1767323045685000000 7000000\nHTTP/1.1 201 \r\netag: x\r\n\r\n${separator}`,
    );
  });

  it("round-trips method, path, headers and body byte for byte", async () => {
    await fc.assert(
      // An id that repeats is made unique: other tests look at that.
      fc.asyncProperty(fc.uniqueArray(requests, { maxLength: 5, selector: ({ id }) => id }), async (parts) => {
        const run = await importAll(await write(parts), { format: "goreplay" });
        expect(run.mistakes).toEqual([]);
        expect(run.requests.map(essence)).toEqual(parts.map((part, i) => essence(expectedRequest(part, i))));
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    ["content-length", "5000", "truncated"],
    ["transfer-encoding", "chunked", "truncated"],
  ] as const)("round-trips a truncated body with %s", async (name, value, bodyState) => {
    const run = await importAll(await write([{ headers: [name, value], bodyState }]));

    expect(run.requests).toEqual([
      expect.objectContaining({ bodyState, body: new Uint8Array(Buffer.from('{"item":"tea"}')) }),
    ]);
  });

  it.each<[string, Partial<RequestParts>, string]>([
    ["a body that contains a record", { body: Buffer.from(`x${separator}1 b 1\nGET /admin`) }, "separates"],
    ["a body that ends with the start of a separator", { body: Buffer.from("x\n🐵🙈🙉") }, "separates"],
    ["a line break in a header", { headers: ["a", "b\r\nc: d"] }, "a line break"],
    ["a path with a space", { path: "/a b" }, "the path"],
    ["an invalid method", { method: "GET /admin" }, "the method"],
    ["a truncated body without a length", { version: "2.0", headers: [], bodyState: "truncated" }, "incomplete"],
  ])("skips and reports %s", async (_case, changes, reason) => {
    const skipped: string[] = [];
    const written = await write([{}, changes, {}], (why) => skipped.push(why));

    expect(skipped).toEqual([expect.stringContaining(reason)]);
    expect((await importAll(written)).requests).toHaveLength(2);
  });

  it("redacts credentials if asked to", async () => {
    const headers = ["Authorization", "Bearer s3cret", "COOKIE", "sid=s3cret", "X-Tag", "a"];
    const request = expectedRequest({ headers, primary: { status: 200, headers: ["set-cookie", "s3cret"] } }, 0);
    const written = Buffer.concat(await collect(writeGoreplay(streamOf([request]), { redact: true }))).toString();

    expect(written).not.toContain("s3cret");
    expect(written).toContain("Authorization: redacted\r\nCOOKIE: redacted\r\nX-Tag: a");
  });

  it("writes the actual body length, and round-trips the primary's status and time", async () => {
    const headers = ["content-length", "14", "x", "y"];
    const outcomes = [{ status: 200, timeMs: 5 }, { status: 500 }];
    const parts = outcomes.map((primary) => ({ headers, primary, body: Buffer.from("redacted") }));
    const { requests } = await importAll(await write(parts));

    expect(requests.map(({ primary }) => primary)).toEqual(outcomes);
    expect(requests[0]).toMatchObject({ bodyState: "complete", headers: ["content-length", "8", "x", "y"] });
  });

  it("keeps an id on one line", async () => {
    const run = await importAll(await write([{ id: "a b\nc" }]));

    expect(run.requests[0].id).toBe("a%20b%0ac");
  });
});

const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
const value = fc.stringMatching(/^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/);
const names = token.filter((name) => !["content-length", "transfer-encoding"].includes(name.toLowerCase()));
const requests: fc.Arbitrary<Partial<RequestParts>> = fc
  .record({
    id: fc.stringMatching(/^[\x21-\x7e]{1,40}$/),
    capturedAtMs: fc.constant(1_767_323_045_678),
    method: token,
    path: fc.stringMatching(/^\/[\x21-\xff]{0,40}$/),
    pairs: fc.array(fc.tuple(names, value), { maxLength: 8 }),
    body: fc.uint8Array({ maxLength: 100 }),
    chunked: fc.boolean(),
  })
  .map(({ pairs, chunked, ...parts }) => {
    const framing = chunked ? ["Transfer-Encoding", "chunked"] : ["content-length", String(parts.body.length)];
    return { ...parts, headers: [...pairs.flat(), ...framing] };
  });

function essence({ id, capturedAtMs, method, path, headers, body, bodyState }: CapturedRequest): object {
  return { id, capturedAtMs, method, path, headers, body, bodyState };
}

async function write(parts: readonly Partial<RequestParts>[], onSkipped?: (reason: string) => void): Promise<Buffer> {
  const captured = parts.map((part, i) => expectedRequest(part, i));
  const options = { onSkipped: (_request: CapturedRequest, reason: string) => onSkipped?.(reason) };
  return Buffer.concat(await collect(writeGoreplay(streamOf(captured), options)));
}

function withoutId({ id: _id, ...rest }: CapturedRequest): object {
  return rest;
}

function record({
  id = "a",
  method = "GET",
  path = "/",
  headers = [] as readonly string[],
  atMs = 1_767_323_045_678,
}): string {
  const lines = headers.flatMap((part, i) => (i % 2 === 0 ? [`${part}: ${headers[i + 1]}\r\n`] : []));
  return `1 ${id} ${atMs}000000 0\n${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${separator}`;
}

function response(id: string, status: number, atMs = 1_767_323_045_679): string {
  return `2 ${id} ${atMs}000000 1000000\nHTTP/1.1 ${status} OK\r\n\r\n${separator}`;
}
