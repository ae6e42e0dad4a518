import { readFileSync } from "node:fs";
import { z } from "zod";
import type { Config, Environment } from "./config.ts";
import { configSchema } from "./schema.ts";
import { ConfigError, parseConfigText } from "./text.ts";
import { toConfig } from "./to-config.ts";

/** Reads and checks a configuration file. Throws `ConfigError`, also if the file cannot be read. */
export function loadConfig(file: string, env: Environment): Config {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError([
      code === "ENOENT"
        ? `${file}: cannot be read: there is no such file; write one (relay/README.md, Configuration), or name another with --config FILE`
        : `${file}: cannot be read: ${code === "EISDIR" ? "it is a directory; name a file with --config FILE" : message}`,
    ]);
  }
  return toConfig(parseConfigText(text, file, env, configSchema), file, env);
}

/** The JSON Schema of the file, for editors. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" });
}
