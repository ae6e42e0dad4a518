import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // Not *.test.ts: they take minutes and a machine of their own, and are no part of npm test.
    include: ["test/rates/*.spec.ts"],
    // What is measured is time: one file after the other.
    maxWorkers: 1,
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 60_000,
    disableConsoleIntercept: true,
    // The SDK finds no emulator without them.
    env: { AWS_ACCESS_KEY_ID: "test", AWS_SECRET_ACCESS_KEY: "test" },
  },
});
