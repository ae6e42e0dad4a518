import { expect, it } from "vitest";
import { findGrowths } from "./growth.ts";
import { readers } from "./growth-readers.ts";

// test/fuzz/all-growths.test.ts, one of the long tests, has many more.
const shapes = [" ", ",", ":"].map((unit) => ({ unit, start: "a", end: "b" }));

it.each(readers)("$name: the time to read untrusted text grows as its length does", async (reader) => {
  expect(await findGrowths([reader], shapes, 1_024)).toEqual([]);
});
