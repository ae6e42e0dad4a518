import { join } from "node:path";
import { type Layout, toLayout } from "../../../infra/layout.ts";
import type { Config, Environment } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { configFile } from "../lambda/lambda-config.ts";

export const exampleNames = ["one-region", "two-regions", "two-accounts", "captures-only"] as const;

export type ExampleName = (typeof exampleNames)[number];

/** The file of a configuration in `infra/examples`. */
export function exampleFile(name: ExampleName): string {
  return join(import.meta.dirname, "../../../infra/examples", `${name}.yaml`);
}

/** A configuration in `infra/examples`. */
function exampleConfig(name: ExampleName): Config {
  return loadConfig(exampleFile(name), {});
}

export function exampleLayout(name: ExampleName): Layout {
  return toLayout(exampleConfig(name));
}

/** The layout of a configuration with these lines. */
export function layoutOf(lines: readonly string[], env: Environment = {}): Layout {
  return toLayout(loadConfig(configFile(...lines), env));
}
