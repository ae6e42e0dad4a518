import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Template } from "aws-cdk-lib/assertions";
import { addStacks, createApp } from "../../../infra/constructs/relay-app.ts";
import type { RelayStack } from "../../../infra/constructs/relay-stack.ts";
import type { Environment } from "../../../relay/config/config.ts";
import { bundleFile, functionNames } from "../../../relay/deployed/functions.ts";
import { type ExampleName, exampleFile } from "../data/layouts.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";

/** The directory of the cloud assembly, which is removed after the test. */
export interface Synthesis {
  readonly directory: string;
  /** The templates by stack name. */
  readonly templates: Readonly<Record<string, Template>>;
}

/** Synthesises the stacks of a configuration; without `bundles`, with empty functions. Throws if a check finds something. */
export function synthesise(file: string, env: Environment = {}, bundles = emptyBundles()): Synthesis {
  const directory = join(temporaryDirectory(), "cdk.out");
  const app = createApp(directory);
  const stacks = addStacks(app, file, env, bundles);
  app.synth();
  const templates = stacks.map((stack: RelayStack) => [stack.stackName, Template.fromStack(stack)] as const);
  return { directory, templates: Object.fromEntries(templates) };
}

const examples = new Map<ExampleName, Synthesis["templates"]>();

/** The templates of an example, synthesised once for all tests of a file. */
export function templatesOf(name: ExampleName): Synthesis["templates"] {
  const templates = examples.get(name) ?? synthesise(exampleFile(name)).templates;
  examples.set(name, templates);
  return templates;
}

function emptyBundles(): string {
  const directory = join(temporaryDirectory(), "functions");
  mkdirSync(directory);
  for (const name of functionNames)
    writeFileSync(join(directory, bundleFile(name)), "export const handler = () => {};");
  return directory;
}
