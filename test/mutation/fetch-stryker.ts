import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { isInstalled, strykerPackages, strykerRoot, strykerVersion } from "./stryker-release.ts";

// Installs Stryker into the user's cache, once. See test/matrix/fetch-haproxy.ts.

try {
  if (!isInstalled()) {
    process.stderr.write(`Installing Stryker ${strykerVersion} …\n`);
    // Renamed at the end, so that an interrupted run leaves nothing incomplete.
    const unfinished = `${strykerRoot}.unfinished`;
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    execFileSync("npm", ["install", "--prefix", unfinished, ...flags, ...strykerPackages()], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    rmSync(strykerRoot, { recursive: true, force: true });
    renameSync(unfinished, strykerRoot);
  }
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
