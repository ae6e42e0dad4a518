import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory } from "../support/debian/unpacked-packages.ts";

export const strykerVersion = "10.1.1";

// Outside the repository: 100 MB that only this run needs, and `npm ci` would remove them from node_modules.
export const strykerRoot = cacheDirectory(`stryker-${strykerVersion}`);

export function isInstalled(): boolean {
  return existsSync(strykerModule("core"));
}

/** The main module of one of Stryker's packages. */
export function strykerModule(name: "core" | "vitest-runner"): string {
  return join(strykerRoot, "node_modules/@stryker-mutator", name, "dist/src/index.js");
}

/** The packages to install; Stryker runs the repository's vitest, but imports one from beside itself first. */
export function strykerPackages(): readonly string[] {
  const packageFile = join(import.meta.dirname, "../../package.json");
  const { devDependencies } = JSON.parse(readFileSync(packageFile, "utf8")) as {
    readonly devDependencies: { readonly vitest: string };
  };
  return [
    `@stryker-mutator/core@${strykerVersion}`,
    `@stryker-mutator/vitest-runner@${strykerVersion}`,
    `vitest@${devDependencies.vitest}`,
  ];
}
