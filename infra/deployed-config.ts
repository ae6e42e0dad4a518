import { readFileSync } from "node:fs";
import { stringify } from "yaml";
import type { Config, Environment } from "../relay/config/config.ts";
import { readConfigValue } from "../relay/config/text.ts";
import { configFileName } from "../relay/deployed/functions.ts";

/** Sections that functions do not read and that may hold secrets of agents and hosts. */
const sectionsOfOthers = ["agent", "host", "control", "aws"] as const;

interface WrittenTarget {
  queue?: string;
  readonly tls?: { ca?: string };
}

interface Written {
  targets?: Record<string, WrittenTarget>;
  captures?: unknown;
}

/**
 * The files that are deployed with a function, by name: the configuration with all `${NAME}` filled in, and the
 * certificate authorities that it names. Throws `ConfigError`, and the errors of `node:fs` if an authority's file cannot be
 * read.
 *
 * @param replayed the target of a replay function. The function may run in the account of its shadow, so the file has no other
 *   targets: their headers may be secrets.
 */
export function toDeployedFiles(
  { file, targets, aws }: Config,
  env: Environment,
  replayed?: string,
): ReadonlyMap<string, string> {
  const written = readConfigValue(readFileSync(file, "utf8"), file, env) as Written & Record<string, unknown>;
  for (const section of sectionsOfOthers) delete written[section];
  if (replayed === undefined) delete written.loopKey;
  if (replayed !== undefined) keepOnly(replayed, written, aws?.targetQueues.get(replayed));
  const files = new Map<string, string>();
  const sections = written.targets ?? {};
  for (const { name, tls } of targets) {
    const section = sections[name]?.tls;
    if (tls.ca === undefined || !section) continue;
    section.ca = `${name}-ca.pem`;
    files.set(section.ca, readFileSync(tls.ca, "utf8"));
  }
  return files.set(configFileName, stringify(written, { lineWidth: 0 }));
}

/** @param queue the target's own queue: without it the only target of a file would read the ingress queue */
function keepOnly(target: string, written: Written, queue: string | undefined): void {
  written.targets = { [target]: { ...written.targets?.[target], ...(queue !== undefined && { queue }) } };
  delete written.captures;
}
