import { defineConfig } from "vitest/config";
import { long } from "./test/long/files.ts";
import { compileCache } from "./test/support/processes/compile-cache.ts";

// What they measure is time: on two cores nothing else may run beside them.
const alone = ["test/e2e/rate.test.ts", "test/e2e/demo.test.ts", "test/e2e/restart.test.ts"];
// They start processes, change the environment, or look at the memory of their own process.
const apart = ["test/e2e/**", "test/faults/**", "test/fuzz/**"];

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
          // The matrix needs several HAProxys: npm run test:matrix.
          exclude: ["test/matrix/**", ...long, ...alone, ...apart],
          // A process for each file would take a quarter of the time.
          isolate: false,
        },
      },
      {
        extends: true,
        test: { name: "apart", include: apart.map((folder) => `${folder}/*.test.ts`), exclude: [...long, ...alone] },
      },
      {
        extends: true,
        test: { name: "alone", include: alone, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
