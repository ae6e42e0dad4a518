import { defineConfig } from "vitest/config";

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Those need several HAProxys: npm run test:matrix.
    exclude: ["test/matrix/**"],
    // Two cores: more workers would only take each other's time, and paced replays would show it.
    maxWorkers: 2,
    pool: "forks",
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
