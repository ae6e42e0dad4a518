import { resolve } from "node:path";
import { defineConfig } from "vitest/config";
import { compileCache } from "../support/processes/compile-cache.ts";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    include: ["test/moto/*.test.ts"],
    globalSetup: ["test/moto/global-setup.ts"],
    // moto answers one request after the other.
    maxWorkers: 1,
    pool: "forks",
    testTimeout: 240_000,
    hookTimeout: 120_000,
    disableConsoleIntercept: true,
    env: { ...compileCache, AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test", AWS_REGION: "us-east-1" },
  },
});
