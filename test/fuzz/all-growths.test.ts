import { expect, it } from "vitest";
import { allShapes, findGrowths } from "./growth.ts";
import { readers } from "./growth-readers.ts";

// Each unit once, alone or between two others in turn: all shapes would take three minutes.
const shapes = allShapes.filter((_, i) => (i >> 1) % 2 === i % 2);

it.each(readers)(
  "$name: the time to read untrusted text grows as its length does, whatever its shape",
  async (reader) => {
    expect(await findGrowths([reader], shapes, 4_096)).toEqual([]);
  },
  300_000,
);
