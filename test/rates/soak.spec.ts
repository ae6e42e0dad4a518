import { resolve } from "node:path";
import { expect, it } from "vitest";
import { run } from "../support/processes/command-line.ts";

const soak = resolve(import.meta.dirname, "../soak/soak.ts");

it("a short soak accounts for every request", async () => {
  const { code, stdout, stderr } = await run(process.execPath, soak, "--seconds", "30", "--rate", "500");

  expect(stderr).toBe("");
  expect(stdout).toContain("✓ every request is accounted for");
  expect(code).toBe(0);
});

it("a soak with a wrong argument prints its usage", async () => {
  const { code, stderr } = await run(process.execPath, soak, "--seconds", "soon");

  expect(code).toBe(2);
  expect(stderr).toContain("Usage: npm run soak");
});
