import { describe, expect, it } from "vitest";
import { keyOf } from "../../../relay/rules/request-key.ts";

const request = { headers: [] as readonly string[], src: "" };

describe("keyOf", () => {
  it("finds a header in any case, and uses the first of several", () => {
    const headers = ["Host", "shop.example", "X-User", "7", "x-user", "8"];

    expect(keyOf({ by: "header", name: "x-user" }, { ...request, headers })).toBe("7");
  });

  it.each([
    ["among others", ["cookie", "a=b; session=7; c=d"]],
    ["in the second header", ["cookie", "a=b", "Cookie", "session=7"]],
    ["without spaces", ["cookie", "a=b;session=7;session=8"]],
    ["after one without a value", ["cookie", "flag; session=7"]],
  ])("finds a cookie %s", (_, headers) => {
    expect(keyOf({ by: "cookie", name: "session" }, { ...request, headers })).toBe("7");
  });

  it("compares a cookie's name with its case, and keeps its whole value", () => {
    const headers = ["cookie", 'Session=1; my-session=2; session="a=b=="'];

    expect(keyOf({ by: "cookie", name: "session" }, { ...request, headers })).toBe('"a=b=="');
  });

  it("uses the address of the client", () => {
    expect(keyOf({ by: "src" }, { ...request, src: "2001:db8::1" })).toBe("2001:db8::1");
  });

  it.each([
    ["no header", { by: "header", name: "x-user" } as const, []],
    ["an empty header", { by: "header", name: "x-user" } as const, ["x-user", ""]],
    ["no cookie", { by: "cookie", name: "session" } as const, ["cookie", "a=b"]],
    ["an empty cookie", { by: "cookie", name: "session" } as const, ["cookie", "session="]],
    ["no address", { by: "src" } as const, []],
  ])("is undefined with %s", (_, key, headers) => {
    expect(keyOf(key, { ...request, headers })).toBeUndefined();
  });
});
