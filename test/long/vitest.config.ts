import { resolve } from "node:path";
import { defineConfig } from "vitest/config";
import { compileCache } from "../support/processes/compile-cache.ts";
import { long } from "./files.ts";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    maxWorkers: 2,
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: compileCache,
    include: [...long],
  },
});
