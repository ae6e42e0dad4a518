import { ConfigError } from "../config/text.ts";

/** The functions in Lambda. `functions/` and `infra/` share the names and settings in this file. */
export const functionNames = ["fanout", "replay", "schedule", "control"] as const;

export type FunctionName = (typeof functionNames)[number];

/** The environment variable of each setting of a function. */
export const functionVariables = {
  /** Path of the configuration; `spoa-relay.yaml` next to the bundle by default. */
  config: "RELAY_CONFIG",
  /** Name of the target that a `replay` function sends to. */
  target: "RELAY_TARGET",
  /** JSON: ARNs of the `replay` functions whose event source mappings may be switched on and off, by target name. */
  mappings: "RELAY_MAPPINGS",
  /** JSON: the secret in Secrets Manager for each `{ env: NAME }` of the target, by NAME. */
  secrets: "RELAY_SECRETS",
} as const;

type Setting = keyof typeof functionVariables;

/** All settings that each function reads. */
export const functionSettings = {
  fanout: ["config"],
  replay: ["config", "target", "secrets"],
  schedule: ["config", "mappings"],
  control: ["config", "mappings"],
} as const satisfies Readonly<Record<FunctionName, readonly Setting[]>>;

/** The values of a function's settings, as text. */
export type FunctionSettings<Name extends FunctionName> = {
  readonly [S in (typeof functionSettings)[Name][number]]?: string;
};

/** File name of the configuration in a deployed function. */
export const configFileName = "spoa-relay.yaml";

/** Source file of a function, relative to the root of the repository. */
export function handlerFile(name: FunctionName): string {
  return `functions/handlers/${name}.ts`;
}

/** Bundle of a function in `dist/functions`, built by `npm run build`. */
export function bundleFile(name: FunctionName): string {
  return `${name}.mjs`;
}

/** Name of the handler that Lambda calls. */
export function handlerName(name: FunctionName): string {
  return `${name}.handler`;
}

/**
 * Name of a function in Lambda, such as `packs-replay-staging` for the ingress queue `packs`. Throws `ConfigError` if
 * it is longer than Lambda allows.
 */
export function deployedName(ingressQueueName: string, name: FunctionName, target?: string): string {
  const deployed = [ingressQueueName, name, ...(target === undefined ? [] : [target])].join("-");
  if (deployed.length > maxNameLength) {
    const part = target === undefined ? "queue" : "queue or the target";
    throw new ConfigError([
      `${deployed}: Lambda allows names of at most ${maxNameLength} characters: give the ${part} a shorter name`,
    ]);
  }
  return deployed;
}

const maxNameLength = 64;

/** The environment that a function is deployed with. */
export function toEnvironment<Name extends FunctionName>(
  name: Name,
  settings: FunctionSettings<Name>,
): Record<string, string> {
  const given: Readonly<Partial<Record<Setting, string>>> = settings;
  const entries = functionSettings[name].map((setting) => [functionVariables[setting], given[setting]]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

/** Reads the settings of a function from its environment. */
export function readEnvironment<Name extends FunctionName>(
  name: Name,
  env: Readonly<Record<string, string | undefined>>,
): FunctionSettings<Name> {
  const entries = functionSettings[name].map((setting) => [setting, env[functionVariables[setting]]]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as FunctionSettings<Name>;
}
