import { join } from "node:path";
import { ConfigError } from "../relay/config/text.ts";
import { configFileName } from "../relay/deployed/functions.ts";
import { hideUrlPasswords } from "../relay/redaction/url-passwords.ts";
import { addStacks, createApp } from "./constructs/relay-app.ts";

// The program that `cdk` runs: `npm run synth -- -c config=FILE`, or SPOA_RELAY_CONFIG.
const app = createApp();
const file: string = app.node.tryGetContext("config") ?? process.env.SPOA_RELAY_CONFIG ?? configFileName;
try {
  addStacks(app, file, process.env, join(import.meta.dirname, "../dist/functions"));
  app.synth();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  process.stderr.write(`${hideUrlPasswords(error.message)}\n`);
  process.exitCode = 2;
}
