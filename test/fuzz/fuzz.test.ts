import { expect, it } from "vitest";
import { allGoldenFiles } from "../support/spop/golden-frames.ts";
import { runFuzz } from "./fuzz-run.ts";
import { Mutator } from "./mutator.ts";

it("finds nothing wrong with session, intake and packer in two seconds of damaged frames", () => {
  const seed = Date.now() % 2 ** 31;

  const figures = runFuzz(
    new Mutator(seed, allGoldenFiles()),
    { frames: Number.POSITIVE_INFINITY, ms: 2_000 },
    () => {},
    () => {},
  );

  // All kinds of ends are met: acknowledged, packed, refused.
  expect(figures.acks).toBeGreaterThan(figures.frames / 4);
  expect(figures.requests).toBeGreaterThan(figures.frames / 10);
  expect(figures.refused).toBeGreaterThan(figures.cases / 10);
});

it("makes the same frames from the same seed", () => {
  const [one, same, other] = [1, 1, 2].map((seed) => new Mutator(seed, allGoldenFiles()).chunks(77));

  expect(same).toEqual(one);
  expect(other).not.toEqual(one);
});
