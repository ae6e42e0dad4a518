import { readFileSync } from "node:fs";
import { stringify } from "yaml";
import type { Config, Environment } from "../relay/config.ts";
import { readConfigValue } from "../relay/config-text.ts";
import { configFileName } from "../relay/function-environment.ts";

/** What functions do not read, and what may hold secrets of agents and hosts. */
const sectionsOfOthers = ["agent", "host", "control", "aws"] as const;

/**
 * The files that stand beside each function, by their names: the configuration with all `${NAME}` filled in, and the
 * certificate authorities that it names. Throws `ConfigError`, and what `node:fs` throws for an authority.
 */
export function toDeployedFiles({ file, targets }: Config, env: Environment): ReadonlyMap<string, string> {
  const written = readConfigValue(readFileSync(file, "utf8"), file, env) as Record<string, unknown>;
  for (const section of sectionsOfOthers) delete written[section];
  const files = new Map<string, string>();
  const sections = (written.targets ?? {}) as Record<string, { tls?: { ca?: string } }>;
  for (const { name, tls } of targets) {
    const section = sections[name].tls;
    if (tls.ca === undefined || !section) continue;
    section.ca = `${name}-ca.pem`;
    files.set(section.ca, readFileSync(tls.ca, "utf8"));
  }
  return files.set(configFileName, stringify(written, { lineWidth: 0 }));
}
