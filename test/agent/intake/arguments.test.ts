import { describe, expect, it } from "vitest";
import { ArgumentNames, type ArgumentRole } from "../../../agent/intake/arguments.ts";

/** `roleAt` for a name as text, and the unknown names that were reported. */
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
    ["whole", "whole"],
    ["id", "id"],
    ["src", "src"],
    ["status", "status"],
    ["time", "timeMs"],
    ["res_hdrs", "responseHeaders"],
    ["res_bytes", "responseBytes"],
    ["res_digest", "responseDigest"],
  ])("recognises the argument %s", (name, role) => {
    const { roleAt, unknown } = createNames();

    expect([roleAt(0, name), roleAt(0, name), roleAt(77, name)]).toEqual([role, role, role]);
    expect(unknown).toEqual([]);
  });

  it("distinguishes a name from the last name at its position", () => {
    const { roleAt } = createNames();

    const roles = ["method", "methos", "metho", "methodx", "path", "method"].map((name) => roleAt(0, name));

    expect(roles).toEqual(["method", undefined, undefined, undefined, "path", "method"]);
  });

  it("distinguishes positions that share a slot", () => {
    const { roleAt } = createNames();

    expect([roleAt(0, "method"), roleAt(32, "body"), roleAt(0, "method")]).toEqual(["method", "body", "method"]);
  });

  it("reports an unknown name once, at any position and however often it is sent", () => {
    const { roleAt, unknown } = createNames();

    for (let i = 0; i < 5; i++) for (const name of ["x-extra", "", "X-Extra"]) roleAt(i, name);

    expect(unknown).toEqual(["x-extra", "", "X-Extra"]);
  });

  it.each(["constructor", "__proto__", "toString", "hasOwnProperty"])("does not recognise the name %s", (name) => {
    const { roleAt, unknown } = createNames();

    expect(roleAt(0, name)).toBeUndefined();
    expect(unknown).toEqual([name]);
  });

  it("reports at most 100 names, and cuts long names", () => {
    const { roleAt, unknown } = createNames();

    for (let i = 0; i < 1_000; i++) roleAt(i, `${i}${"x".repeat(10_000)}`);

    expect(unknown).toHaveLength(100);
    expect(Math.max(...unknown.map((name) => name.length))).toBeLessThanOrEqual(64);
    expect(roleAt(0, `method${"\0".repeat(100)}`)).toBeUndefined();
  });
});
