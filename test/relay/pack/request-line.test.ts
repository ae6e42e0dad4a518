import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { toHttpText, toJsonLine } from "../../../relay/pack/request-line.ts";

const all = { secrets: true };

describe("a request as a line of JSON", () => {
  it("contains every byte of the request", () => {
    const bytes = fc.uint8Array({ maxLength: 60 });
    const text = bytes.map((each) => Buffer.from(each).toString("latin1"));
    fc.assert(
      fc.property(text, text, fc.array(text, { maxLength: 4 }), bytes, (method, path, values, body) => {
        const headers = values.flatMap((value, i) => [`x-${i}`, value]);
        const line = toJsonLine(request({ method, path, headers, body }), all);
        const json = JSON.parse(line);

        expect(line).not.toMatch(/\p{Cc}/u);
        expect([json.method, json.path, json.headers.flat()]).toEqual([method, path, headers]);
        const read = json.body === undefined ? Buffer.from(json.bodyBase64, "base64") : Buffer.from(json.body);
        expect(Uint8Array.from(read)).toEqual(Uint8Array.from(body));
      }),
    );
  });

  it("shows a UTF-8 body as text, and any other body as base64", () => {
    const bodyOf = (body: Buffer) => JSON.parse(toJsonLine(request({ body }), all));

    expect(bodyOf(Buffer.from("Grüße"))).toMatchObject({ body: "Grüße" });
    expect(bodyOf(Buffer.of(0xff, 0x00))).toMatchObject({ bodyBase64: "/wA=" });
  });

  it("contains the primary's response if it was captured", () => {
    const primary = { status: 200, timeMs: 3, headers: ["Set-Cookie", "a=1"] };

    expect(JSON.parse(toJsonLine(request({ primary }), all))).toMatchObject({
      primary: { status: 200, timeMs: 3, headers: [["Set-Cookie", "a=1"]] },
    });
    expect(toJsonLine(request({ primary }), { secrets: false })).toContain('["Set-Cookie","…"]');
  });
});

describe("a request as text", () => {
  it("has the form of HTTP/1 on the wire", () => {
    const post = request({ method: "POST", headers: ["Host", "shop", "Cookie", "a=1"], body: Buffer.from("x=1\ny=2") });

    expect(toHttpText(post, { secrets: false })).toBe(
      "# r1 captured 2026-11-22T12:00:00.000Z\nPOST / HTTP/1.1\nHost: shop\nCookie: …\n\nx=1\ny=2\n",
    );
    expect(toHttpText(post, all)).toContain("\nCookie: a=1\n");
  });

  it("names the state of an incomplete body, and escapes control characters", () => {
    const text = toHttpText(
      request({ path: "/\x1b[2J", bodyState: "truncated", body: Buffer.from("\x1b]0;x\x07") }),
      all,
    );

    expect(text).toContain("Z, body truncated\n");
    expect(text).toContain("GET /\\x1b[2J HTTP");
    expect(text).toContain("\n\\x1b]0;x\\x07\n");
  });
});

function request(changes: Partial<CapturedRequest>): CapturedRequest {
  return {
    id: "r1",
    index: 0,
    capturedAtMs: Date.UTC(2026, 10, 22, 12),
    method: "GET",
    path: "/",
    version: "1.1",
    src: "192.0.2.1",
    headers: [],
    body: new Uint8Array(),
    bodyState: "complete",
    ...changes,
  };
}
