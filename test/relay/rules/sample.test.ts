import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSampled, type StickyBy } from "../../../relay/rules/sample.ts";

const request = { id: "", src: "", headers: [] as string[] };
const ids = Array.from({ length: 20_000 }, (_, i) => `request-${i}`);

function share(fraction: number, salt = "staging"): number {
  return ids.filter((id) => isSampled({ fraction }, salt, { ...request, id })).length / ids.length;
}

describe("isSampled", () => {
  it.each([0.005, 0.1, 0.5, 0.9])("selects about the fraction %d", (fraction) => {
    expect(Math.abs(share(fraction) - fraction)).toBeLessThan(4 * Math.sqrt((fraction * (1 - fraction)) / ids.length));
  });

  it("selects everything at 1 and nothing at 0", () => {
    expect(share(1)).toBe(1);
    expect(share(0)).toBe(0);
  });

  it("selects the same requests again", () => {
    const first = ids.filter((id) => isSampled({ fraction: 0.3 }, "staging", { ...request, id }));
    const again = ids.filter((id) => isSampled({ fraction: 0.3 }, "staging", { ...request, id }));

    expect(again).toEqual(first);
  });

  it("keeps all requests of a smaller sample when the fraction grows", () => {
    fc.assert(
      fc.property(fc.string(), fc.double({ min: 0, max: 1, noNaN: true }), (id, fraction) => {
        const larger = { fraction: Math.min(1, fraction + 0.1) };
        if (isSampled({ fraction }, "staging", { ...request, id })) {
          expect(isSampled(larger, "staging", { ...request, id })).toBe(true);
        }
      }),
    );
  });

  it("selects independently for two salts", () => {
    const both = ids.filter((id) =>
      ["a", "b"].every((salt) => isSampled({ fraction: 0.5 }, salt, { ...request, id })),
    ).length;

    expect(both / ids.length).toBeGreaterThan(0.23);
    expect(both / ids.length).toBeLessThan(0.27);
  });
});

describe("a sticky sample", () => {
  const keyed: readonly (readonly [StickyBy["by"], StickyBy, (key: string) => Partial<typeof request>])[] = [
    ["header", { by: "header", name: "x-user", missing: "out" }, (key) => ({ headers: ["X-User", key] })],
    [
      "cookie",
      { by: "cookie", name: "sid", missing: "out" },
      (key) => ({ headers: ["Cookie", `a=b; sid=${key}; c=d`] }),
    ],
    ["src", { by: "src", missing: "out" }, (key) => ({ src: key })],
  ];

  it.each(keyed)("by %s is always in or always out for one key", (_by, stickyBy, withKey) => {
    const sample = { fraction: 0.5, stickyBy };
    const verdicts = Array.from({ length: 200 }, (_, user) =>
      ["1", "2", "3"].map((id) => isSampled(sample, "staging", { ...request, ...withKey(`user-${user}`), id })),
    );

    expect(verdicts.every((of) => of.every((verdict) => verdict === of[0]))).toBe(true);
    expect(verdicts.filter(([verdict]) => verdict).length).toBeGreaterThan(70);
    expect(verdicts.filter(([verdict]) => verdict).length).toBeLessThan(130);
  });

  it.each(keyed)("by %s follows `missing` for a request without the key", (_by, stickyBy, withKey) => {
    for (const without of [request, { ...request, ...withKey("") }]) {
      expect(isSampled({ fraction: 0.5, stickyBy: { ...stickyBy, missing: "in" } }, "staging", without)).toBe(true);
      expect(isSampled({ fraction: 0.5, stickyBy: { ...stickyBy, missing: "out" } }, "staging", without)).toBe(false);
    }
  });

  it("finds a cookie in the second of two Cookie headers", () => {
    const stickyBy = { by: "cookie", name: "sid", missing: "out" } as const;
    const one = { ...request, headers: ["cookie", "sid=7"] };
    const two = { ...request, headers: ["cookie", "a=b", "cookie", "sid=7"] };

    for (let percent = 1; percent < 100; percent++) {
      const sample = { fraction: percent / 100, stickyBy };
      expect(isSampled(sample, "staging", two)).toBe(isSampled(sample, "staging", one));
    }
  });
});
