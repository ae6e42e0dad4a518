import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writeHar } from "../../../relay/exchange/har/har-writer.ts";
import { collect, streamOf } from "../../support/data/byte-chunks.ts";
import { expectedRequest, type RequestParts } from "../../support/data/captured-requests.ts";
import { harSchema } from "../../support/data/har-schema.ts";
import { importAll } from "../../support/data/imports.ts";
import { schemaMistakes } from "../../support/data/json-schema-check.ts";

const sample = readFileSync(new URL("../../fixtures/sample.har", import.meta.url));

describe("reading a HAR file", () => {
  it("imports a browser's file: HTTP/2 without Host, cookies only in a list", async () => {
    const { format, requests, mistakes, leftOut } = await importAll(sample);

    expect({ format, mistakes, count: requests.length }).toEqual({ format: "har", mistakes: [], count: 2 });
    expect(leftOut).toEqual(["blocked, failed or aborted: no response"]);
    expect(requests[0]).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{24}$/),
      index: 0,
      capturedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      method: "GET",
      path: "/search?q=%C3%A9t%C3%A9&page=2",
      version: "2.0",
      src: "",
      headers: ["host", "shop.example", "accept", "*/*", "x-tag", "a", "x-tag", "b", "cookie", "sid=abc; theme=dark"],
      body: new Uint8Array(),
      bodyState: "complete",
      primary: { status: 200, timeMs: 42 },
    });
  });

  it("imports forms that are only a list of parameters", async () => {
    const { requests } = await importAll(sample);

    expect(bodyOf(requests[1])).toEqual(["user=a+b&pass=%C3%A9%26%3D", "complete"]);
    expect(requests[1].headers).toEqual(["Host", "shop.example", "Cookie", "sid=abc"]);
  });

  it.each([1, 2, 3, 7, 1_000])("reads the same from chunks of %i bytes", async (chunkBytes) => {
    expect(await importAll(sample, {}, chunkBytes)).toEqual(await importAll(sample));
  });

  it("drops the fragment of a URL, which browsers do not send", async () => {
    const { requests } = await importAll(har(entry({ url: "http://a/b?c#d?e#f" }), entry({ url: "http://a#/b" })));

    expect(requests.map(({ path, headers }) => [path, headers])).toEqual([
      ["/b?c", ["host", "a"]],
      ["/", ["host", "a"]],
    ]);
  });

  it.each([
    ["null", "null", "startedDateTime"],
    ["a number", "5", "startedDateTime"],
    ["broken JSON", '{"a": tru}', "the entry is not valid JSON"],
    ["unmatched brackets", '{"a": ]]}', "the entry is not valid JSON"],
    [
      "a time without a zone",
      JSON.stringify({ ...entry(), startedDateTime: "2026-01-02T03:04:05" }),
      "startedDateTime",
    ],
    ["a time before 1970", JSON.stringify({ ...entry(), startedDateTime: "1960-01-02T03:04:05Z" }), "startedDateTime"],
    ["no URL", JSON.stringify(entry({ url: 5 })), "no URL"],
    ["a URL without a host", JSON.stringify(entry({ url: "http:///a" })), "no valid host"],
    [
      "a method with a line break",
      JSON.stringify(entry({ method: "GET / HTTP/1.1\r\nx:" })),
      "the method has a character",
    ],
    [
      "a header with a line break",
      JSON.stringify(entry({ headers: [{ name: "a", value: "b\r\nc: d" }] })),
      "line break",
    ],
    ["a URL with a line break", JSON.stringify(entry({ url: "http://a/b\nc" })), "a control character"],
    ["a header without a name", JSON.stringify(entry({ headers: [{ value: "x" }] })), "a header has no name"],
    [
      "a header without a name in an entry of our own",
      JSON.stringify({ ...entry({ headers: [{ value: "x" }] }), _spoaRelay: { id: "a" } }),
      "a header has no name",
    ],
    [
      "a header without a name in the answer of our own",
      JSON.stringify({ ...entry(), response: { headers: [{}] }, _spoaRelay: { primary: { headers: true } } }),
      "a header has no name",
    ],
    [
      "more headers than a capture can hold",
      JSON.stringify(entry({ headers: new Array(100_001).fill({ name: "a", value: "" }) })),
      "a request has more than 100000 headers",
    ],
  ])("skips and reports %s", async (_case, bad, reason) => {
    const good = JSON.stringify(entry());
    const run = await importAll(`{"log":{"entries":[${good},${bad}, ${good}]}}`, { name: "day.har" });

    expect(run.requests).toHaveLength(2);
    expect(run.mistakes).toEqual([expect.stringContaining(`day.har: entry 2 at byte ${good.length + 20}: `)]);
    expect(run.mistakes[0]).toContain(reason);
  });

  it("skips an entry that is longer than allowed", async () => {
    const long = entry({ postData: { mimeType: "", text: "x".repeat(5_000) } });
    for (const chunkBytes of [1, 999, 100_000]) {
      const run = await importAll(har(entry(), long, entry()), { maxRecordBytes: 1_000 }, chunkBytes);

      expect(run.requests).toHaveLength(2);
      expect(run.mistakes).toEqual([expect.stringMatching(/entry 2 at byte \d+: the entry is longer than 1000 bytes/)]);
    }
  });

  it("reports a file that ends too early or has no list of entries", async () => {
    const text = har(entry(), entry());

    expect((await importAll(text.slice(0, -50))).mistakes).toEqual([
      `file: entry 2 at byte ${text.lastIndexOf('{"startedDateTime"')}: the file ends within an entry`,
    ]);
    expect((await importAll(text.slice(0, -50))).requests).toHaveLength(1);
    expect((await importAll('{"log":{"entries":[')).mistakes).toEqual([
      "file: the file ends within the list of entries",
    ]);
    expect((await importAll('{"entries":[{}]}')).mistakes).toEqual(["file: the document has no array log.entries"]);
  });

  it("turns any bytes and any JSON into requests and mistakes", async () => {
    const anyEntry = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .record({ url: fc.jsonValue(), headers: fc.jsonValue(), postData: fc.jsonValue() })
        .map((changes) => JSON.stringify(entry(changes))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(anyEntry, { maxLength: 4 }), fc.nat(60), async (entries, cut) => {
        const text = `{"log":{"entries":[${entries.join(",")}]}}`;
        const content = Buffer.from(text.slice(0, text.length - cut));
        const run = await importAll(content, { format: "har" });
        expect(await importAll(content, { format: "har" }, 1)).toEqual(run);
      }),
      { numRuns: 300 },
    );
  });
});

describe("writing a HAR file", () => {
  it("follows the HAR 1.2 schema", async () => {
    const text = await write([
      { primary: { status: 302, timeMs: 7, bytes: 5, headers: ["location", "/x"] } },
      {
        method: "GET",
        path: "/\xff<>#%zz",
        version: "",
        headers: ["host", "a b", "cookie", "a=b=c; d"],
        body: new Uint8Array(),
      },
      { body: Uint8Array.of(0xff, 0, 0x80), headers: ["host", "[::1]:8080", "x-forwarded-proto", "https"] },
    ]);
    const { log } = JSON.parse(text);

    expect(schemaMistakes(harSchema, { log })).toEqual([]);
    expect(log.entries.map(({ request }: { request: { url: string } }) => request.url)).toEqual([
      "http://shop.example/api/v1/orders?dry=1",
      "http://unknown.invalid/%FF%3C%3E%23%25zz",
      "https://[::1]:8080/api/v1/orders?dry=1",
    ]);
    expect(log.entries[1].request.cookies).toEqual([
      { name: "a", value: "b=c" },
      { name: "d", value: "" },
    ]);
    expect(log.entries[2].request.postData).toEqual({ mimeType: "", text: "/wCA", _encoding: "base64" });
  });

  it("follows the HAR 1.2 schema without any request", async () => {
    expect(schemaMistakes(harSchema, JSON.parse(await write([])))).toEqual([]);
  });

  it("leaves out what cannot be sent again, and says why", async () => {
    const skipped: string[] = [];
    const parts = [
      { method: "CONNECT", path: "a:443" },
      { method: "OPTIONS", path: "*" },
      { path: "*" },
      { headers: ["connection", "upgrade", "upgrade", "websocket"] },
    ];
    const captured = parts.map((part, i) => expectedRequest(part, i));
    const onSkipped = (_request: unknown, reason: string) => skipped.push(reason);
    const text = Buffer.concat(await collect(writeHar(streamOf(captured), { onSkipped }))).toString();

    expect(JSON.parse(text).log.entries).toEqual([]);
    expect(skipped).toEqual([
      "CONNECT, which opens a tunnel",
      "OPTIONS *, which asks about the server itself",
      "the path does not begin with /",
      "a WebSocket or another upgrade",
    ]);
  });

  it("round-trips every request", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(requests, { maxLength: 5, selector: ({ id }) => id }), async (parts) => {
        const text = await write(parts);
        expect(schemaMistakes(harSchema, JSON.parse(text))).toEqual([]);
        const run = await importAll(text);
        expect(run.mistakes).toEqual([]);
        expect(run.requests).toEqual(parts.map((part, i) => expectedRequest(part, i)));
      }),
      { numRuns: 200 },
    );
  });

  it("round-trips what is known of the primary's answer", async () => {
    const outcomes = [
      { status: 200, timeMs: 0, bytes: 0 },
      { status: 500 },
      { digest: "d\xff", headers: ["a", "\xff"] },
    ];
    const { requests } = await importAll(await write(outcomes.map((primary) => ({ primary }))));

    expect(requests.map(({ primary }) => primary)).toEqual(outcomes);
  });

  it("redacts credentials if asked to, also in the list of cookies", async () => {
    const text = await write([{ headers: ["Authorization", "Bearer s3cret", "Cookie", "sid=s3cret"] }], true);

    expect(text).not.toContain("s3cret");
    expect(JSON.parse(text).log.comment).toContain("redacted");
  });
});

const bytes = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array).toString("latin1"));
const requests: fc.Arbitrary<Partial<RequestParts>> = fc.record({
  id: bytes(1, 20),
  capturedAtMs: fc.constant(1_767_323_045_678),
  method: bytes(1, 8),
  path: fc.oneof(
    bytes(0, 30).map((path) => `/${path}`),
    fc.webPath().map((path) => `/${path}`),
  ),
  version: fc.constantFrom("1.0", "1.1", "2.0", "3.0", "", "x"),
  src: fc.constantFrom("192.0.2.1", "2001:db8::1", ""),
  headers: fc.array(fc.tuple(bytes(1, 8), bytes(0, 20))).map((pairs) => pairs.flat()),
  body: fc.oneof(
    fc.uint8Array({ maxLength: 50 }),
    fc.string().map((text) => Uint8Array.from(Buffer.from(text))),
  ),
  bodyState: fc.constantFrom("complete", "truncated", "omitted"),
});

function bodyOf({ body, bodyState }: { readonly body: Uint8Array; readonly bodyState: string }): [string, string] {
  return [Buffer.from(body).toString(), bodyState];
}

function entry(changes: object = {}): object {
  const request = { method: "POST", url: "http://shop.example/", httpVersion: "HTTP/1.1", headers: [], cookies: [] };
  return { startedDateTime: "2026-01-02T03:04:05.678Z", time: 1, request: { ...request, ...changes } };
}

function har(...entries: readonly object[]): string {
  return JSON.stringify({ log: { version: "1.2", entries } });
}

async function write(parts: readonly Partial<RequestParts>[], redact = false): Promise<string> {
  const captured = parts.map((part, i) => expectedRequest(part, i));
  return Buffer.concat(await collect(writeHar(streamOf(captured), { redact }))).toString();
}
