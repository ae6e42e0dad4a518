import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RequestPath } from "../../../agent/intake/path.ts";
import { emptySpan, type Span, spanText } from "../../../relay/pack/span.ts";

interface Parts {
  readonly path?: string;
  readonly url?: string;
  readonly query?: string;
}

// What is before and behind an argument in its frame: it must not matter.
const surroundings = ["[]", "//", "/?", "?/", "::"];

function point(span: Span, text: string, [before, behind]: string): void {
  span.bytes = Buffer.from(`${before}${before}${text}${behind}${behind}`, "latin1");
  span.start = 2;
  span.end = 2 + text.length;
}

function resolveWith(requestPath: RequestPath, { path, url, query }: Parts): string | undefined {
  const results = surroundings.map((around) => {
    requestPath.clear();
    if (path !== undefined) point(requestPath.path, path, around);
    if (url !== undefined) point(requestPath.url, url, around);
    if (query !== undefined) point(requestPath.query, query, around);
    const target = emptySpan();
    return requestPath.resolve(target) ? spanText(target) : undefined;
  });
  expect(new Set(results).size).toBe(1);
  return results[0];
}

const resolve = (parts: Parts) => resolveWith(new RequestPath(), parts);

describe("RequestPath", () => {
  it.each<[Parts, string | undefined]>([
    [{ path: "/a" }, "/a"],
    [{ path: "/a", query: "b=c" }, "/a?b=c"],
    [{ path: "/a", query: "" }, "/a"],
    [{ path: "/a?b", query: "b" }, "/a?b"],
    [{ url: "/a?b=c" }, "/a?b=c"],
    [{ url: "/a?b=c", path: "/a", query: "b=c" }, "/a?b=c"],
    [{ url: "/a", query: "b" }, "/a?b"],
    [{ url: "http://shop.example/a?b=c" }, "/a?b=c"],
    [{ url: "https://shop.example:8443/a" }, "/a"],
    [{ url: "https://shop.example" }, "/"],
    [{ url: "https://shop.example/" }, "/"],
    [{ url: "https://shop.example?b=c" }, "/?b=c"],
    [{ url: "https://shop.example", query: "b=c" }, "/?b=c"],
    [{ url: "https://shop.example?b=c", query: "b=c" }, "/?b=c"],
    [{ path: "https://shop.example/a", query: "b" }, "/a?b"],
    [{ url: "http://" }, "/"],
    [{ url: "//shop.example/a" }, "//shop.example/a"],
    [{ url: "/a?u=http://other/" }, "/a?u=http://other/"],
    [{ url: "/gr\xc3\xbc\xff%20" }, "/gr\xc3\xbc\xff%20"],
    [{ url: "?b=c" }, "/?b=c"],
    [{ path: "?b=c", query: "b=c" }, "/?b=c"],
    [{ url: "?" }, "/?"],
    [{ url: "*" }, undefined],
    [{ url: "shop///a" }, undefined],
    [{ url: "http:/a" }, undefined],
    [{ url: "http:a//b" }, undefined],
    [{ url: "shop.example:443" }, undefined],
    [{ url: "mailto:a@b/c", query: "d" }, undefined],
    [{ query: "b=c" }, undefined],
    [{ path: "", url: "" }, undefined],
    [{}, undefined],
  ])("resolves %j to %j", (parts, expected) => {
    expect(resolve(parts)).toBe(expected);
  });

  it("resolves a request independently of the one before", () => {
    const requestPath = new RequestPath();
    const all: Parts[] = [
      { url: `http://a?${"q".repeat(3_000)}` },
      { path: "/b", query: "c" },
      { url: "https://shop.example?x" },
      { path: "/d" },
      { path: "/", query: "y".repeat(5_000) },
      {},
    ];

    const together = all.map((parts) => resolveWith(requestPath, parts));

    expect(together).toEqual(all.map(resolve));
  });

  it("resolves a path with its query and an absolute URL to the same path, for any bytes", () => {
    const text = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
    const clean = text.map((raw) => raw.replaceAll("?", "_"));
    fc.assert(
      fc.property(clean, text, (tail, query) => {
        const expected = query === "" ? `/${tail}` : `/${tail}?${query}`;
        expect(resolve({ path: `/${tail}`, query })).toBe(expected);
        expect(resolve({ url: expected })).toBe(expected);
        expect(resolve({ url: `https://shop.example${expected}` })).toBe(expected);
      }),
    );
  });

  it("resolves any bytes to something that begins with a slash, or to nothing", () => {
    const text = fc.string({ unit: "binary-ascii", maxLength: 30 });
    fc.assert(
      fc.property(text, text, text, (path, url, query) => {
        expect(resolve({ path, url, query }) ?? "/").toMatch(/^\//);
      }),
    );
  });
});
