import { describe, expect, it } from "vitest";
import { allGoldenFiles } from "../support/spop/golden-frames.ts";
import { runFuzz } from "./fuzz-run.ts";
import { FuzzTarget } from "./fuzz-target.ts";
import type { ModelRules } from "./model/rules.ts";
import { Mutator } from "./mutator.ts";

it("session, intake and packer pass all checks for two seconds of damaged frames", async () => {
  const seed = Date.now() % 2 ** 31;

  const figures = await runFuzz(
    new Mutator(seed, allGoldenFiles()),
    { frames: Number.POSITIVE_INFINITY, ms: 2_000 },
    () => {},
    () => {},
  );

  // Enough frames have each outcome: acknowledged, packed, refused.
  expect(figures.acks).toBeGreaterThan(figures.frames / 4);
  expect(figures.requests).toBeGreaterThan(figures.frames / 10);
  expect(figures.refused).toBeGreaterThan(figures.cases / 10);
  expect(figures.exactShare).toBeGreaterThan(0.9);
});

describe("the fuzzer", () => {
  const others: Partial<ModelRules>[] = [
    ...([{ headers: [] }, { cookies: [] }, { query: [] }, { form: [] }, { json: [] }, { dropBodies: [] }] as const),
    ...[{ key: { value: "another key" } }, { headers: ["x-last"] }, { json: [["user", "token"]] }],
  ];

  it.each(others)("notices if requests are redacted by other rules: %j", (other) => {
    const mutator = new Mutator(1, allGoldenFiles());
    const target = new FuzzTarget(({ rules }) => ({ ...rules, ...other }));

    const run = () => {
      for (let i = 0; i < 400; i++) target.run(i, mutator.chunks(i));
    };

    expect(run).toThrow(/instead of/);
  });
});

it("a mutator makes the same frames from the same seed", () => {
  const [one, same, other] = [1, 1, 2].map((seed) => new Mutator(seed, allGoldenFiles()).chunks(77));

  expect(same).toEqual(one);
  expect(other).not.toEqual(one);
});
