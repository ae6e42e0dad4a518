import type { Command } from "commander";

export interface ConfigFlag {
  readonly config: string;
}

export function withConfig(command: Command, description: string): Command {
  return command.description(description).option("-c, --config <file>", "configuration", "spoa-relay.yaml");
}
