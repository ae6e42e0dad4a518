import { existsSync, statfsSync } from "node:fs";
import { defineConfig } from "vitest/config";
import { long } from "./test/long/files.ts";
import { compileCache } from "./test/support/processes/compile-cache.ts";

// What they measure is time: on two cores nothing else may run beside them.
const alone = ["test/e2e/rate.test.ts", "test/e2e/demo.test.ts", "test/e2e/restart.test.ts"];
// They start processes, change the environment, or look at the memory of their own process.
const apart = [
  "test/e2e/**/*.test.ts",
  "test/faults/**/*.test.ts",
  "test/fuzz/**/*.test.ts",
  "test/agent/intake/header-scan.test.ts",
  "test/agent/spop/{frame-splitter,session}.test.ts",
  "test/relay/pack/envelope.test.ts",
  "test/relay/exchange/goreplay.test.ts",
];

// Queues and state wait for the disk, and one test may do so thousands of times: in memory that takes no time.
const memory = "/dev/shm";
const leastFreeBytes = 2 * 1024 ** 3;
if (process.env.TMPDIR === undefined && existsSync(memory)) {
  const { bavail, bsize } = statfsSync(memory);
  if (bavail * bsize >= leastFreeBytes) process.env.TMPDIR = memory;
}

// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    // Two cores: more workers would only take each other's time.
    maxWorkers: 2,
    pool: "forks",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    env: compileCache,
    projects: [
      {
        extends: true,
        test: {
          name: "together",
          include: ["test/**/*.test.ts"],
          // The matrix needs several HAProxys: npm run test:matrix. moto has a run of its own, too: npm run test:moto.
          exclude: ["test/matrix/**", "test/moto/**", ...long, ...alone, ...apart],
          // To start a process for each file takes a quarter of the time.
          isolate: false,
          setupFiles: ["test/support/processes/own-environment.ts"],
        },
      },
      {
        extends: true,
        test: { name: "apart", include: apart, exclude: [...long, ...alone] },
      },
      {
        extends: true,
        test: { name: "alone", include: alone, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
