import { expect, it } from "vitest";
import { allShapes, findGrowths } from "./growth.ts";
import { readers } from "./growth-readers.ts";

it.each(readers)(
  "$name: the time to read untrusted text grows as its length does, whatever its shape",
  async (reader) => {
    expect(await findGrowths([reader], allShapes, 4_096)).toEqual([]);
  },
  300_000,
);
