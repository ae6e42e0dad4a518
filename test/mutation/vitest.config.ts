import { defineConfig } from "vitest/config";
import { long } from "../long/files.ts";
import { compileCache } from "../support/processes/compile-cache.ts";

// The suite of DynamoDB's state is slow, and nothing else tests most of that code.
const slow = long.filter((file) => file !== "test/relay/state/dynamodb/state.test.ts");

// For Stryker, which runs it in a copy of the repository: see mutation-run.ts.
// biome-ignore lint/style/noDefaultExport: vitest reads the default export.
export default defineConfig({
  test: {
    include: ["test/{agent,relay,functions}/**/*.test.ts"],
    // Alerts are files of their own, which no mutant changes.
    exclude: [...slow, "test/agent/alerts.test.ts"],
    setupFiles: ["test/support/processes/own-environment.ts"],
    isolate: false,
    // Less than Stryker's limit: what waits forever for a fact fails, and is no endless loop.
    testTimeout: 45_000,
    hookTimeout: 45_000,
    env: compileCache,
  },
});
