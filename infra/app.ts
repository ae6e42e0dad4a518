import { join } from "node:path";
import { App, Validations } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";
import { ConfigError } from "../relay/config-text.ts";
import { configFileName } from "../relay/function-environment.ts";
import { addStacks } from "./relay-app.ts";

// What `cdk` runs: `npm run synth -- -c config=FILE`, or SPOA_RELAY_CONFIG.
const app = new App();
const file: string = app.node.tryGetContext("config") ?? process.env.SPOA_RELAY_CONFIG ?? configFileName;
const bundles = join(import.meta.dirname, "../dist/functions");
try {
  addStacks(app, file, process.env, bundles);
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  app.synth();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
