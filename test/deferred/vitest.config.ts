import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // Not *.test.ts: it takes a quarter of an hour and a machine of its own, and is no part of npm test.
    include: ["test/deferred/*.spec.ts"],
    pool: "forks",
    // One capture, which all tests replay one after the other.
    sequence: { concurrent: false },
    testTimeout: 900_000,
    hookTimeout: 300_000,
    disableConsoleIntercept: true,
  },
});
