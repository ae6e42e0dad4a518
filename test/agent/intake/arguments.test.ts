import { describe, expect, it } from "vitest";
import { ArgumentNames, type ArgumentRole } from "../../../agent/intake/arguments.ts";

/** Names, and the unknown ones that were reported. */
function createNames(): {
  readonly roleAt: (position: number, name: string) => ArgumentRole | undefined;
  readonly unknown: string[];
} {
  const unknown: string[] = [];
  const names = new ArgumentNames((name) => unknown.push(name));
  return {
    unknown,
    roleAt: (position, name) => {
      const bytes = Buffer.from(`<${name}>`, "latin1");
      return names.roleAt(position, bytes, 1, bytes.length - 1);
    },
  };
}

describe("ArgumentNames", () => {
  it.each<[string, ArgumentRole]>([
    ["arg_method", "method"],
    ["arg_path", "path"],
    ["arg_ver", "version"],
    ["arg_hdrs", "headers"],
    ["arg_body", "body"],
    ["method", "method"],
    ["path", "path"],
    ["pathq", "url"],
    ["uri", "url"],
    ["url", "url"],
    ["query", "query"],
    ["ver", "version"],
    ["version", "version"],
    ["hdrs", "headers"],
    ["headers", "headers"],
    ["body", "body"],
    ["body_len", "bodyBytes"],
    ["body_size", "bodyBytes"],
    ["id", "id"],
    ["src", "src"],
    ["status", "status"],
    ["time", "timeMs"],
    ["res_hdrs", "responseHeaders"],
    ["res_bytes", "responseBytes"],
    ["res_digest", "responseDigest"],
  ])("knows %s", (name, role) => {
    const { roleAt, unknown } = createNames();

    expect([roleAt(0, name), roleAt(0, name), roleAt(77, name)]).toEqual([role, role, role]);
    expect(unknown).toEqual([]);
  });

  it("does not mistake a name for the one that stood at its position before", () => {
    const { roleAt } = createNames();

    const roles = ["method", "methos", "metho", "methodx", "path", "method"].map((name) => roleAt(0, name));

    expect(roles).toEqual(["method", undefined, undefined, undefined, "path", "method"]);
  });

  it("keeps positions apart that share a slot", () => {
    const { roleAt } = createNames();

    expect([roleAt(0, "method"), roleAt(32, "body"), roleAt(0, "method")]).toEqual(["method", "body", "method"]);
  });

  it("reports an unknown name once, wherever and however often it comes", () => {
    const { roleAt, unknown } = createNames();

    for (let i = 0; i < 5; i++) for (const name of ["x-extra", "", "X-Extra"]) roleAt(i, name);

    expect(unknown).toEqual(["x-extra", "", "X-Extra"]);
  });

  it.each(["constructor", "__proto__", "toString", "hasOwnProperty"])("takes %s for an unknown name", (name) => {
    const { roleAt, unknown } = createNames();

    expect(roleAt(0, name)).toBeUndefined();
    expect(unknown).toEqual([name]);
  });

  it("reports no more than 100 names, and keeps no long ones", () => {
    const { roleAt, unknown } = createNames();

    for (let i = 0; i < 1_000; i++) roleAt(i, `${i}${"x".repeat(10_000)}`);

    expect(unknown).toHaveLength(100);
    expect(Math.max(...unknown.map((name) => name.length))).toBeLessThanOrEqual(64);
    expect(roleAt(0, `method${"\0".repeat(100)}`)).toBeUndefined();
  });
});
