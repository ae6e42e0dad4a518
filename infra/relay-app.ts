import type { App } from "aws-cdk-lib";
import { type Environment, loadConfig } from "../relay/config.ts";
import { toDeployedFiles } from "./deployed-config.ts";
import { toLayout } from "./layout.ts";
import { RelayStack } from "./relay-stack.ts";

/** Adds the stacks of a configuration to an app, as `toLayout` has them. Throws `ConfigError`. */
export function addStacks(app: App, file: string, env: Environment, bundles: string): readonly RelayStack[] {
  const config = loadConfig(file, env);
  const layout = toLayout(config);
  const context = { config, layout, bundles, files: toDeployedFiles(config, env) };
  return layout.stacks.map((stack) => new RelayStack(app, stack, context));
}
