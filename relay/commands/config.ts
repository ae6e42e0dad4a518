import type { Command } from "commander";
import { configJsonSchema, loadConfig } from "../config/load.ts";
import { assertRunnable } from "../config/replayable.ts";
import { describeCredentials } from "../credentials/captured-credentials.ts";
import { type ConfigFlag, plural, print, withConfig } from "./command-line.ts";

export function addConfig(program: Command): void {
  const config = program.command("config").description("check a configuration file, or print its JSON Schema");
  withConfig(
    config.command("check"),
    "report mistakes in a configuration file, and files and programs that it names and this machine lacks",
  )
    .addHelpText("after", "\nExample: spoa-relay config check --config spoa-relay.yaml")
    .action(({ config: file }: ConfigFlag) => {
      const checked = loadConfig(file, process.env);
      assertRunnable(checked, process.env.PATH ?? "", Date.now());
      const { targets, captures, warnings } = checked;
      for (const warning of warnings) print(`warning: ${warning}`);
      for (const target of targets) {
        const credentials = describeCredentials(target);
        if (credentials !== undefined) print(`targets.${target.name}.${credentials}`);
      }
      print(`${file} is valid: ${describe("target", targets)}, ${describe("capture", captures)}`);
    });
  config
    .command("schema")
    .description("print the JSON Schema of spoa-relay.yaml, for editors")
    .addHelpText("after", "\nExample: spoa-relay config schema > spoa-relay.schema.json")
    .action(() => print(JSON.stringify(configJsonSchema(), undefined, 2)));
}

function describe(noun: string, parts: readonly { readonly name: string }[]): string {
  return parts.length === 0
    ? `no ${noun}s`
    : `${plural(parts.length, noun)} (${parts.map(({ name }) => name).join(", ")})`;
}
