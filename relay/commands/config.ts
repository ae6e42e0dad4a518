import type { Command } from "commander";
import { configJsonSchema, loadConfig } from "../config/load.ts";
import { assertReplayable } from "../config/replayable.ts";
import { type ConfigFlag, print, withConfig } from "./command-line.ts";

export function addConfig(program: Command): void {
  const config = program.command("config").description("check the configuration, or print its JSON Schema");
  withConfig(config.command("check"), "check a configuration file")
    .addHelpText("after", "\nExample: spoa-relay config check --config spoa-relay.yaml")
    .action(({ config: file }: ConfigFlag) => {
      const checked = loadConfig(file, process.env);
      assertReplayable(checked);
      const { targets, warnings } = checked;
      for (const warning of warnings) print(`warning: ${warning}`);
      print(`${file} is right: ${targets.length} target(s): ${targets.map(({ name }) => name).join(", ")}`);
    });
  config
    .command("schema")
    .description("print the JSON Schema of spoa-relay.yaml, for editors")
    .addHelpText("after", "\nExample: spoa-relay config schema > spoa-relay.schema.json")
    .action(() => print(JSON.stringify(configJsonSchema(), undefined, 2)));
}
