import { ConfigError } from "../config/text.ts";

/** The functions in Lambda. `functions/` reads what stands here, `infra/` deploys with it. */
export const functionNames = ["fanout", "replay", "schedule", "control"] as const;

export type FunctionName = (typeof functionNames)[number];

/** Where each setting of a function stands in its environment. */
export const functionVariables = {
  /** Path of the configuration; without it that is `spoa-relay.yaml` beside the bundle. */
  config: "RELAY_CONFIG",
  /** Name of the target that a `replay` sends to. */
  target: "RELAY_TARGET",
  /** JSON: ARN of the `replay` function by the name of its target, for those whose event source mapping may be switched. */
  mappings: "RELAY_MAPPINGS",
} as const;

type Setting = keyof typeof functionVariables;

/** What each function reads, all of it. */
export const functionSettings = {
  fanout: ["config"],
  replay: ["config", "target"],
  schedule: ["config", "mappings"],
  control: ["config", "mappings"],
} as const satisfies Readonly<Record<FunctionName, readonly Setting[]>>;

/** The values of a function's settings, as text. */
export type FunctionSettings<Name extends FunctionName> = {
  readonly [S in (typeof functionSettings)[Name][number]]?: string;
};

/** The file of the configuration in the deployment of a function. */
export const configFileName = "spoa-relay.yaml";

/** The source of a function, from the root of the repository. */
export function handlerFile(name: FunctionName): string {
  return `functions/handlers/${name}.ts`;
}

/** What `npm run build` makes of it, in `dist/functions`. */
export function bundleFile(name: FunctionName): string {
  return `${name}.mjs`;
}

/** What Lambda calls in it. */
export function handlerName(name: FunctionName): string {
  return `${name}.handler`;
}

/**
 * The name that a function has in Lambda, of all that belongs to one ingress queue: `packs-replay-staging`. Throws
 * `ConfigError` where it is longer than Lambda takes.
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

/** What a function finds in its environment. */
export function readEnvironment<Name extends FunctionName>(
  name: Name,
  env: Readonly<Record<string, string | undefined>>,
): FunctionSettings<Name> {
  const entries = functionSettings[name].map((setting) => [setting, env[functionVariables[setting]]]);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as FunctionSettings<Name>;
}
