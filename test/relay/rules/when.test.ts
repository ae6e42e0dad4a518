import { describe, expect, it } from "vitest";
import { Pattern } from "../../../relay/rules/pattern.ts";
import { matches } from "../../../relay/rules/when.ts";

const request = { method: "POST", path: "/api/v1/orders?dry=1", headers: ["Host", "shop.example", "X-Tag", "a"] };

describe("when", () => {
  it("matches everything without conditions", () => {
    expect(matches({}, request)).toBe(true);
  });

  it.each([
    [["POST"], true],
    [["GET", "POST"], true],
    [["GET"], false],
    [["post"], false],
  ])("compares the method with %j: %s", (methods, expected) => {
    expect(matches({ methods }, request)).toBe(expected);
  });

  it.each([
    ["^/api/v1/", true],
    ["dry=1$", true],
    ["^/api/v2/", false],
  ])("matches path and query against %s: %s", (path, expected) => {
    expect(matches({ path: new Pattern(path) }, request)).toBe(expected);
  });

  it("finds a header in any case", () => {
    expect(matches({ headers: { "x-tag": new Pattern("^a$") } }, request)).toBe(true);
  });

  it("does not match if a header has another value or is missing", () => {
    expect(matches({ headers: { "x-tag": new Pattern("^b$") } }, request)).toBe(false);
    expect(matches({ headers: { "x-other": new Pattern(".*") } }, request)).toBe(false);
  });

  it("needs every condition to match", () => {
    const when = {
      methods: ["POST"],
      path: new Pattern("^/api"),
      headers: { host: new Pattern("^shop\\."), "x-tag": new Pattern("^a$") },
    };

    expect(matches(when, request)).toBe(true);
    expect(matches({ ...when, methods: ["GET"] }, request)).toBe(false);
    expect(matches({ ...when, path: new Pattern("^/x") }, request)).toBe(false);
    expect(matches({ ...when, headers: { ...when.headers, host: new Pattern("^other") } }, request)).toBe(false);
  });

  it("returns the same result every time", () => {
    const when = { path: new Pattern("orders") };

    expect([matches(when, request), matches(when, request), matches(when, request)]).toEqual([true, true, true]);
  });
});
