import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // *.spec.ts takes minutes, and is not part of npm test.
    include: ["test/model/*.test.ts", "test/model/*.spec.ts"],
    maxWorkers: 1,
    pool: "forks",
    hookTimeout: 60_000,
  },
});
