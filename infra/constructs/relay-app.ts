import { App, Validations } from "aws-cdk-lib";
import featureFlags from "aws-cdk-lib/recommended-feature-flags.json" with { type: "json" };
import { AwsSolutionsChecks } from "cdk-nag";
import type { Environment } from "../../relay/config/config.ts";
import { loadConfig } from "../../relay/config/load.ts";
import { toDeployedFiles } from "../deployed-config.ts";
import { toLayout } from "../layout.ts";
import { RelayStack } from "./relay-stack.ts";

/** An app that checks its stacks against the AWS Solutions rules (cdk-nag) when it is synthesised. */
export function createApp(outdir?: string): App {
  const app = new App({ context: featureFlags, ...(outdir !== undefined && { outdir }) });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return app;
}

/**
 * Adds the stacks of a configuration, see `toLayout`. Throws `ConfigError`.
 *
 * @param bundles directory with the bundles of the functions
 */
export function addStacks(app: App, file: string, env: Environment, bundles: string): readonly RelayStack[] {
  const config = loadConfig(file, env);
  const layout = toLayout(config);
  const filesOf = (replayed: string | undefined) => toDeployedFiles(config, env, replayed);
  const context = { config, layout, bundles, filesOf };
  const stacks = layout.stacks.map((stack) => new RelayStack(app, stack, context));
  // Other stacks first: a fan-out that knows a queue which does not exist yet would fail for every pack until it does.
  const [home, ...others] = stacks;
  for (const other of others) home.addStackDependency(other, "the fan-out sends to its queues");
  // The table before the functions that use it. If it is in the first stack, the functions of the other stacks are deployed before
  // it, but they are not invoked: nothing sends to their queues until the first stack has its table.
  const withTable = stacks[layout.stacks.findIndex(({ table }) => table)];
  for (const other of others) {
    if (withTable !== home && other !== withTable) other.addStackDependency(withTable, "its functions use the table");
  }
  return stacks;
}
