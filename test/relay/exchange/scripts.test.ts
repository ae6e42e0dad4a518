import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exportRequests } from "../../../relay/exchange/export.ts";
import type { ExportFormat } from "../../../relay/exchange/exported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { collect, streamOf } from "../../support/data/byte-chunks.ts";
import { expectedRequest, type RequestParts } from "../../support/data/captured-requests.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { type ReceivedRequest, ShadowServer } from "../../support/servers/shadow-server.ts";
import { isWhole, WireServer } from "../../support/servers/wire-server.ts";

const run = promisify(execFile);

describe("a curl script", () => {
  it("sends the same requests when a shell runs it", async () => {
    const shadow = await ShadowServer.start();
    const parts = [...awkwardRequests, ...fc.sample(anyRequest, { numRuns: 15, seed: 5 })];
    const { text, skipped } = await write("curl", parts);
    const { stdout, stderr } = await runScript(text, shadow.url.origin);

    expect({ skipped, stderr }).toEqual({ skipped: [], stderr: "" });
    expect(stdout.split("\n").filter((line) => line.startsWith("200 "))).toHaveLength(parts.length);
    expect(shadow.received.map(toSent)).toEqual(parts.map(toExpected));
  });

  it("sends bytes beyond ASCII in path and headers", async () => {
    const wire = await WireServer.start((request) => (isWhole(request) ? "HTTP/1.1 200 OK\r\n\r\n" : undefined));
    const bytes = Buffer.from(Uint8Array.from({ length: 128 }, (_, i) => 128 + i)).toString("latin1");
    const headers = ["host", "h", "user-agent", bytes, "accept", "a"];
    const { text } = await write("curl", [{ method: "GET", path: `/${bytes}`, headers, body: new Uint8Array() }]);
    await runScript(text, wire.url.origin);

    expect(wire.received.map((received) => received.toString("latin1"))).toEqual([
      `GET /${bytes} HTTP/1.1\r\nHost: h\r\nuser-agent: ${bytes}\r\naccept: a\r\n\r\n`,
    ]);
  });

  it.each<[string, Partial<RequestParts>, string]>([
    ["a truncated body", { headers: ["content-length", "99"], bodyState: "truncated" }, "incomplete"],
    ["a body with HEAD", { method: "HEAD" }, "HEAD"],
    ...unrepeatable,
    ["a path that is a URL", { path: "http://other.example/" }, "does not begin"],
    ["a line break in a header", { headers: ["a", "b\nc"] }, "line break"],
  ])("skips and reports %s", async (_case, changes, reason) => {
    const { text, skipped } = await write("curl", [changes]);

    expect(skipped).toEqual([expect.stringContaining(reason)]);
    expect(text.toString()).not.toMatch(/^.*send --/m);
  });

  it("prints its usage if the address is missing, and says that it contains credentials", async () => {
    const { text } = await write("curl", [{}]);

    expect(text.toString()).toContain("credentials included");
    await expect(run("sh", ["-c", text.toString()])).rejects.toMatchObject({ code: 2 });
  });

  it("keeps an id within its comment", async () => {
    const shadow = await ShadowServer.start();
    const { text } = await write("curl", [{ id: "a\ncurl http://other.example/" }]);
    const { stdout } = await runScript(text, shadow.url.origin);

    expect(stdout).toMatch(/^200 [\d.]+s\n$/);
  });

  it("redacts credentials if asked to", async () => {
    const { text } = await write("curl", [{ headers: ["authorization", "Bearer s3cret"] }], true);

    expect(text.toString()).not.toContain("s3cret");
    expect(text.toString()).toContain("'authorization: redacted'");
  });
});

describe("a k6 script", () => {
  it("passes the same requests to k6", async () => {
    const parts = [...awkwardRequests, ...fc.sample(anyRequest, { numRuns: 100, seed: 6 })];
    const { text, skipped } = await write("k6", parts);
    const calls = await runK6(text);

    expect(skipped.every((reason) => /UTF-8|not valid in a URL/.test(reason))).toBe(true);
    expect(calls.length).toBe(parts.length - skipped.length);
    expect(calls.length).toBeGreaterThan(20);
    expect(calls[0]).toEqual({
      method: "POST",
      url: "http://shadow.example:1/api/v1/orders?dry=1",
      body: Buffer.from('{"item":"tea"}').toString("hex"),
      headers: { host: "shop.example", "x-tag": "a, b", "x-empty": "" },
      redirects: 0,
    });
  });

  it("passes every byte of a body to k6", async () => {
    const bodies = ["\u2028\u2029</script>`$x`\\'\"", "gr\u00fcn"].map((text) => Buffer.from(text));
    bodies.push(Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)));
    const { text } = await write(
      "k6",
      bodies.map((body) => ({ body })),
    );

    expect((await runK6(text)).map(({ body }) => body)).toEqual(bodies.map((body) => body.toString("hex")));
  });

  it("divides the gaps by the speed, and has no gaps at speed 0", async () => {
    const capturedAtMs = Date.UTC(2026, 0, 2);
    const { text } = await write("k6", [{ capturedAtMs }, { capturedAtMs: capturedAtMs + 9_000_000 }]);
    const sleeps = (seconds: number) => [
      expect.anything(),
      { sleepSeconds: expect.closeTo(seconds, -2) },
      expect.anything(),
    ];

    expect(await runK6(text)).toEqual(sleeps(9_000));
    expect(await runK6(text, { SPEED: "2" })).toEqual(sleeps(4_500));
    expect(await runK6(text, { SPEED: "0" })).toHaveLength(2);
    expect(text.toString()).toMatch(/^.*-e SPEED=1 requests\.js \(SPEED=0: as fast as possible\)\n/);
  });

  it.each<[string, Partial<RequestParts>, string]>([
    ["a truncated body", { headers: ["content-length", "99"], bodyState: "truncated" }, "incomplete"],
    ["a path that is not valid in a URL", { path: "/a%zz" }, "not valid in a URL"],
    ["a path with a fragment", { path: "/a#b" }, "not valid in a URL"],
    ["a header that is not UTF-8", { headers: ["a", "\xff"] }, "UTF-8"],
    ["a header that would set the prototype", { headers: ["__proto__", "a"] }, "__proto__"],
    ...unrepeatable,
  ])("skips and reports %s", async (_case, changes, reason) => {
    const { text, skipped } = await write("k6", [changes]);

    expect(skipped).toEqual([expect.stringContaining(reason)]);
    expect(await runK6(text)).toEqual([]);
  });
});

const webSocket = ["connection", "upgrade", "upgrade", "websocket"];
const unrepeatable: readonly [string, Partial<RequestParts>, string][] = [
  ["CONNECT", { method: "CONNECT" }, "CONNECT"],
  ["OPTIONS *", { method: "OPTIONS", path: "*" }, "OPTIONS *"],
  ["a WebSocket", { method: "GET", body: new Uint8Array(), headers: webSocket }, "WebSocket"],
  ["a path that is none", { path: "*" }, "does not begin with /"],
];

const awkwardRequests: readonly Partial<RequestParts>[] = [
  {},
  {
    method: "GET",
    path: "/../a/./b//c?x={1,2}&y=[1-3]&z=$HOME`id`'\"\\;|&",
    body: new Uint8Array(),
    headers: ["Host", "a'b.example"],
  },
  {
    method: "HEAD",
    body: new Uint8Array(),
    headers: ["Host", "h", "User-Agent", "it's $(mine)", "ACCEPT", "a", "accept", "b"],
  },
  { method: "POST", body: new Uint8Array(), headers: ["host", "h", "content-length", "0"] },
  { method: "PUT", body: Uint8Array.from({ length: 256 }, (_, i) => i), headers: ["host", "h", "content-type", "x/y"] },
  {
    method: "PATCH",
    body: Buffer.from("it's\n'many'\n\nlines\\n%s $x\n"),
    headers: ["host", "h", "expect", "100-continue"],
  },
  { method: "DELETE", body: Buffer.from("@/etc/hostname"), headers: ["host", "h", "transfer-encoding", "chunked"] },
  {
    method: "GET",
    body: Buffer.from("with a body"),
    headers: ["host", "h", "x-bytes", "gr\xc3\xbc\xff\x80", "x-empty", ""],
  },
  {
    method: "PURGE",
    path: "/%ff%zz",
    body: Buffer.alloc(300_000, "a'"),
    headers: ["host", "h", "connection", "close"],
  },
];

const value = fc.stringMatching(/^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?)?$/);
const anyRequest: fc.Arbitrary<Partial<RequestParts>> = fc
  .record({
    method: fc.constantFrom("POST", "PUT", "GET", "PATCH"),
    path: fc.stringMatching(/^\/[\x21-\x7e]{0,40}$/),
    pairs: fc.array(fc.tuple(fc.stringMatching(/^x-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/), value), { maxLength: 8 }),
    body: fc.uint8Array({ minLength: 1, maxLength: 100 }),
  })
  .map(({ pairs, ...parts }) => ({
    ...parts,
    headers: ["host", "shop.example", ...pairs.filter(([name]) => !name.toLowerCase().startsWith("x-mirror-")).flat()],
  }));

/**
 * What a server must receive: method, path, body, and headers without those of the connection, with Host as curl
 * writes it.
 */
function toExpected(changes: Partial<RequestParts>): object {
  const { method, path, headers, body } = expectedRequest(changes, 0);
  return { method, path, headers: withoutConnection(headers), body: Buffer.from(body).toString("hex") };
}

function toSent({ method, path, rawHeaders, body }: ReceivedRequest): object {
  return { method, path, headers: withoutConnection(rawHeaders), body: body.toString("hex") };
}

function withoutConnection(headers: readonly string[]): readonly string[] {
  const connection = ["content-length", "transfer-encoding", "connection", "expect"];
  return headers
    .filter((_part, i) => !connection.includes(headers[i - (i % 2)].toLowerCase()))
    .map((part, i) => (i % 2 === 0 && part.toLowerCase() === "host" ? "Host" : part));
}

async function write(
  format: ExportFormat,
  parts: readonly Partial<RequestParts>[],
  redact = false,
): Promise<{ readonly text: Buffer; readonly skipped: readonly string[] }> {
  const skipped: string[] = [];
  const onSkipped = (_request: CapturedRequest, reason: string) => skipped.push(reason);
  const captured = parts.map((part, i) => expectedRequest(part, i));
  const text = Buffer.concat(await collect(exportRequests(format, streamOf(captured), { redact, onSkipped })));
  return { text, skipped };
}

async function runScript(text: Buffer, origin: string): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const file = join(temporaryDirectory(), "requests.sh");
  writeFileSync(file, text);
  return run("sh", [file, origin], { env: { PATH: process.env.PATH } });
}

interface K6Call {
  readonly method: string;
  readonly url: string;
  readonly body: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly redirects: number;
}

/** Runs a script as k6 would, with modules of the same names that print each call. */
async function runK6(text: Buffer, env: Readonly<Record<string, string>> = {}): Promise<readonly K6Call[]> {
  const directory = temporaryDirectory();
  const script = join(directory, "requests.mjs");
  const modules = join(directory, "node_modules", "k6");
  mkdirSync(modules, { recursive: true });
  const exports = { ".": "./k6.js", "./http": "./http.js", "./encoding": "./encoding.js" };
  writeFileSync(join(modules, "package.json"), JSON.stringify({ name: "k6", type: "module", exports }));
  writeFileSync(
    join(modules, "k6.js"),
    "export const sleep = (sleepSeconds) => console.log(JSON.stringify({ sleepSeconds }));",
  );
  writeFileSync(
    join(modules, "encoding.js"),
    "export default { b64decode: (text) => Uint8Array.from(Buffer.from(text, 'base64')).buffer };",
  );
  writeFileSync(
    join(modules, "http.js"),
    `export default { request(method, url, content, { headers, redirects }) {
      const body = content === null ? undefined : Buffer.from(content).toString("hex");
      console.log(JSON.stringify({ method, url, body, headers, redirects }));
    } };`,
  );
  writeFileSync(script, text);
  await run(process.execPath, ["--check", script]);
  const start = `globalThis.__ENV = ${JSON.stringify({ TARGET: "http://shadow.example:1/", ...env })};
    (await import(${JSON.stringify(script)})).default();`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", start], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}
