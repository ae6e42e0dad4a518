import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // Not *.test.ts: they take minutes, need a machine without other load, and are not part of npm test.
    include: ["test/rates/*.spec.ts"],
    // One file after another: the tests measure times.
    maxWorkers: 1,
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 60_000,
    disableConsoleIntercept: true,
    // The SDK refuses to call an emulator without credentials.
    env: { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
  },
});
