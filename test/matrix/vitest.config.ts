import { resolve } from "node:path";
import { defineConfig } from "vitest/config";
import { releaseProgram, releases } from "./releases.ts";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, "../.."),
    // One file after another: some tests compare times.
    maxWorkers: 1,
    pool: "forks",
    testTimeout: 180_000,
    hookTimeout: 180_000,
    disableConsoleIntercept: true,
    projects: releases.map((release) => ({
      extends: true,
      test: {
        name: `HAProxy ${release.version}`,
        include: [
          "test/matrix/*.test.ts",
          "test/faults/idle-haproxy.test.ts",
          "test/e2e/{demo,document-examples,fidelity,response,restart}.test.ts",
          "test/e2e/intake/*.test.ts",
        ],
        env: { HAPROXY: releaseProgram(release) },
      },
    })),
  },
});
