import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exportRequests } from "../../../relay/exchange/export.ts";
import type { ImportFormat } from "../../../relay/exchange/imported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { collect, streamOf } from "../../support/data/byte-chunks.ts";
import { importAll } from "../../support/data/imports.ts";

/** The formats that can be written and read. */
type Format = Extract<ImportFormat, "goreplay" | "har">;

interface Exported {
  readonly bytes: Buffer;
  readonly skipped: readonly string[];
  readonly lost: readonly string[];
}

describe("an export, an import and another export", () => {
  it.each<Format>(["goreplay", "har"])("make the same %s file from any requests", async (format) => {
    await fc.assert(
      fc.asyncProperty(captures, async (requests) => {
        const first = await write(format, requests);
        const run = await importAll(first.bytes, { format });
        const second = await write(format, run.requests);

        expect(run.mistakes).toEqual([]);
        expect(run.leftOut).toEqual([]);
        expect(run.requests).toHaveLength(requests.length - first.skipped.length);
        expect(second.bytes.toString("latin1")).toBe(first.bytes.toString("latin1"));
        expect(second.skipped).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it("restore every part of every request from a HAR file", async () => {
    await fc.assert(
      fc.asyncProperty(captures, async (requests) => {
        const { bytes, skipped, lost } = await write("har", requests);
        const restored = (await importAll(bytes)).requests.map(({ index: _index, ...parts }) => parts);

        expect(lost).toEqual([]);
        if (skipped.length > 0) return;
        expect(restored).toEqual(requests.map(({ index: _index, ...parts }) => parts));
      }),
      { numRuns: 200 },
    );
  });

  it("name each part that a GoReplay file does not restore", async () => {
    await fc.assert(
      fc.asyncProperty(captures, async (requests) => {
        for (const request of requests) {
          const { bytes, skipped, lost } = await write("goreplay", [request]);
          if (skipped.length + lost.length > 0) continue;
          const [restored] = (await importAll(bytes)).requests;
          const { id, method, path, version, src, body } = request;
          expect(restored).toMatchObject({ id, method, path, version, src, body });
          expect(restored.primary?.status).toBe(request.primary?.status);
        }
      }),
      { numRuns: 200 },
    );
  });

  it("count what a GoReplay file loses", async () => {
    const request: CapturedRequest = {
      id: "a b",
      index: 0,
      capturedAtMs: 1_767_323_045_678,
      method: "POST",
      path: "http://shop.example/a",
      version: "2.0",
      src: "192.0.2.1",
      headers: ["x", " y"],
      body: Buffer.from("{}"),
      bodyState: "complete",
      primary: { status: 200, bytes: 5 },
    };
    const { lost } = await write("goreplay", [request, { ...request, primary: { timeMs: 5 } }]);

    expect(lost.slice(0, 7)).toEqual([
      "the client's address",
      "the HTTP version: 1.1 instead",
      "characters of the id",
      "scheme and host of the path",
      "space around header values",
      "that there was no Content-Length",
      "size and digest of the answer",
    ]);
    expect(lost.at(-1)).toBe("an answer without a status, or one that HTTP/1 cannot express");
  });

  it("never make a truncated body complete", async () => {
    const bodies = captures.map((requests) => requests.map((each) => ({ ...each, bodyState: "truncated" as const })));
    await fc.assert(
      fc.asyncProperty(bodies, fc.constantFrom<Format>("goreplay", "har"), async (requests, format) => {
        const run = await importAll((await write(format, requests)).bytes, { format });
        expect(run.requests.filter(({ bodyState }) => bodyState === "complete")).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

const latin1 = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array).toString("latin1"));
const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
const value = fc.oneof(
  fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,20}$/),
  latin1(0, 12),
  fc.constantFrom(
    "chunked",
    "gzip, chunked",
    "0",
    "5",
    "7",
    "1000",
    "5, 5",
    "websocket",
    "h2c",
    "https",
    Buffer.from("\n🐵🙈🙉\n").toString("latin1"),
  ),
);
const name = fc.oneof(
  token,
  fc.constantFrom(
    "Host",
    "content-length",
    "Transfer-Encoding",
    "upgrade",
    "cookie",
    "Cookie",
    "x-forwarded-proto",
    ":x",
  ),
  latin1(1, 5),
);
const headers = fc.array(fc.tuple(name, value), { maxLength: 6 }).map((pairs) => pairs.flat());
const body = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.string().map((text) => Uint8Array.from(Buffer.from(text))),
  fc
    .constantFrom("\r", "\r\n", "x\n🐵🙈🙉", "x\n🐵🙈🙉\r\ny", "\n1 a 1767323045678000000 0\nGET / HTTP/1.1\r\n\r\n")
    .map((text) => Uint8Array.from(Buffer.from(text))),
);
const primary = fc.record(
  {
    status: fc.oneof(fc.integer({ min: 100, max: 599 }), fc.integer({ min: 0, max: 999 })),
    timeMs: fc.nat(100_000),
    bytes: fc.nat(),
    digest: latin1(1, 8),
    headers,
  },
  { requiredKeys: [] },
);
const request = fc.record(
  {
    id: latin1(0, 12),
    capturedAtMs: fc.nat({ max: 4_000_000_000_000 }),
    method: fc.oneof(fc.constantFrom("GET", "POST", "CONNECT", "OPTIONS", "PRI"), token, latin1(1, 4)),
    path: fc.oneof(
      fc.stringMatching(/^\/[\x21-\xff]{0,30}$/),
      fc.webPath().map((path) => `/${path}`),
      fc.constantFrom("*", "http://a/b", "a:443", "//a", "/?#", "/%zz"),
      latin1(1, 8),
    ),
    version: fc.constantFrom("1.0", "1.1", "2.0", "3.0", "", "\xff"),
    src: fc.constantFrom("192.0.2.1", "2001:db8::1", "", "\xff"),
    headers,
    body,
    bodyState: fc.constantFrom("complete" as const, "truncated" as const, "omitted" as const),
    primary,
  },
  {
    requiredKeys: ["id", "capturedAtMs", "method", "path", "version", "src", "headers", "body", "bodyState"],
  },
);
/** Requests in the order of a capture, each with an id of its own. */
const captures = fc
  .array(request, { maxLength: 4 })
  .map((all) => all.sort((a, b) => a.capturedAtMs - b.capturedAtMs))
  .map((all) => all.map((each, index) => ({ ...each, index, id: `${index}${each.id}` })));

async function write(format: Format, requests: readonly CapturedRequest[]): Promise<Exported> {
  const skipped: string[] = [];
  const lost: string[] = [];
  const options = {
    onSkipped: (_request: CapturedRequest, reason: string) => skipped.push(reason),
    onLost: (part: string) => lost.push(part),
  };
  const bytes = Buffer.concat(await collect(exportRequests(format, streamOf(requests), options)));
  return { bytes, skipped, lost };
}
