import { describe, expect, it } from "vitest";
import { formatRequest } from "../../../relay/pack/request-text.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";

describe("formatRequest", () => {
  it("prints a request without its credentials", () => {
    const headers = [
      "Host",
      "shop.example",
      "Authorization",
      "Bearer s3cret",
      "COOKIE",
      "sid=s3cret",
      "x-api-key",
      "s3cret",
    ];

    expect(formatRequest(expectedRequest({ headers }, 0))).toBe(
      "# 4b1d-1 captured 2026-01-02T03:04:05.678Z\nPOST /api/v1/orders?dry=1 HTTP/1.1\nHost: shop.example\n" +
        'Authorization: …\nCOOKIE: …\nx-api-key: …\n\n{"item":"tea"}',
    );
  });

  it("cuts a long body and says what is missing", () => {
    const body = Buffer.alloc(5_000, "a");

    expect(formatRequest(expectedRequest({ body, bodyState: "truncated" }, 0))).toMatch(
      /\n\n\(body truncated\)\na{2000} … 5000 bytes in all$/,
    );
  });

  it("escapes control characters, which could control the terminal", () => {
    const evil = "\x1b]0;owned\x07\x9b2J\r\0";
    const text = formatRequest(
      expectedRequest({ id: evil, path: `/${evil}\n`, headers: ["a", evil], body: Buffer.from(`${evil}\n\tb`) }, 0),
    );

    expect(text.replaceAll("\n", "").replaceAll("\t", "")).not.toMatch(/\p{Cc}/u);
    expect(text.endsWith("\n\tb")).toBe(true);
    expect(text).toContain("/\\x1b]0;owned\\x07\\x9b2J\\x0d\\x00\\x0a HTTP");
  });
});
