import { describe, expect, it } from "vitest";
import { createPackIds, packsOfGroup, requestsOfGroup, toPackGroup } from "../../../relay/pack/pack-id.ts";

const ids = (count: number) => {
  const create = createPackIds();
  return Array.from({ length: count }, () => Buffer.from(create(150)).toString("hex"));
};

describe("createPackIds", () => {
  it("makes ids of 16 bytes that are all different", () => {
    const all = [...ids(500), ...ids(500)];

    expect(new Set(all).size).toBe(1_000);
    expect(all.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
  });

  it("puts twenty packs in a row into a group, each into a place of its own", () => {
    const places = ids(3 * packsOfGroup).map(toPackGroup);
    const groups = Map.groupBy(places, (place) => place?.group);

    expect(Array.from(groups.values(), (packs) => packs.length)).toEqual([20, 20, 20]);
    for (const packs of groups.values()) expect(new Set(packs.map((place) => place?.slot)).size).toBe(20);
  });

  it("puts fewer packs with many requests into a group, whose fates share one item", () => {
    const sizes = [1_000, 1_000, 3_500, 10_000, 1, 10_000, 2_000, 2_000];
    const create = createPackIds();
    const groups = new Map<string | undefined, number[]>();
    sizes.forEach((size, i) => {
      const place = toPackGroup(Buffer.from(create(sizes[i - 1] ?? 0)).toString("hex"));
      groups.set(place?.group, [...(groups.get(place?.group) ?? []), size]);
    });

    // A group may exceed its limit only by its last pack.
    const sums = Array.from(groups.values(), (packs) => packs.slice(0, -1).reduce((sum, size) => sum + size, 0));
    expect(Math.max(...sums)).toBeLessThan(requestsOfGroup);
    expect([...groups.values()]).toEqual([[1_000, 1_000, 3_500], [10_000], [1, 10_000], [2_000, 2_000]]);
  });

  it("shares no group with another process", () => {
    const groups = [...ids(100), ...ids(100)].map((id) => toPackGroup(id)?.group);

    expect(new Set(groups).size).toBe(10);
  });

  it("made none of the ids of older agents and of jobs, which are random or hashes", () => {
    expect(toPackGroup("00112233445566778899aabbccddeeff")).toBeUndefined();
    expect(toPackGroup("p1")).toBeUndefined();
    expect(toPackGroup(`${ids(1)[0]}00`)).toBeUndefined();
  });

  it("makes ids that later versions still have to recognise", () => {
    const id = Buffer.from(createPackIds((bytes) => Buffer.alloc(bytes, 0xab))(0)).toString("hex");

    expect(id).toBe("70616765abababababababababababab".slice(0, 30).concat("00"));
    expect(toPackGroup(id)).toEqual({ group: "q6urq6urq6urq6s", slot: "00" });
  });
});
