import { expect, it } from "vitest";
import { fileKinds } from "./file-kinds.ts";
import { FileMutator } from "./file-mutator.ts";
import { checkSeeds, runFiles } from "./file-run.ts";

it("reads every undamaged file as counted by hand", async () => {
  await checkSeeds(fileKinds);
});

it("passes all checks for damaged files of every kind", async () => {
  const { kinds } = await runFiles(new FileMutator(20_261_122, fileKinds), { files: 1_500, ms: 3_000 });

  // Enough of them are read, and enough refused.
  const figures = Object.values(kinds);
  expect(figures.reduce((sum, { accepted }) => sum + accepted, 0)).toBeGreaterThan(figures.length);
  expect(figures.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(figures.length);
});

it("a mutator makes the same files from the same seed", () => {
  const [one, same, other] = [1, 1, 2].map((seed) => new FileMutator(seed, fileKinds).file(77).bytes.toString("hex"));

  expect(same).toBe(one);
  expect(other).not.toBe(one);
});

it("finds a reader that fails, and names the file", async () => {
  const fragile = fileKinds.map((kind) => ({
    ...kind,
    read: (bytes: Buffer) => {
      if (bytes.includes("\r\n\r\n\r\n")) throw new RangeError("fragile");
      return { accepted: 1, refused: 0 };
    },
  }));

  await expect(runFiles(new FileMutator(1, fragile), { files: 100_000, ms: 10_000 })).rejects.toMatchObject({
    name: "FileFailure",
    message: expect.stringContaining("fragile"),
  });
});
