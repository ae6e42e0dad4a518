import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // Not *.test.ts: it takes 15 minutes, needs a machine without other load, and is not part of npm test.
    include: ["test/deferred/*.spec.ts"],
    pool: "forks",
    // One after another: all tests replay the same capture.
    sequence: { concurrent: false },
    testTimeout: 900_000,
    hookTimeout: 300_000,
    disableConsoleIntercept: true,
  },
});
