import { join } from "node:path";
import { type Config, loadConfig } from "../relay/config.ts";
import { ConfigError } from "../relay/config-text.ts";
import { configFileName } from "../relay/function-environment.ts";
import { LiveTarget } from "../relay/live-target.ts";
import { createLogger, type Logger } from "../relay/log.ts";
import { openStores, type Stores } from "../relay/stores.ts";

/** What a function in Lambda finds around it: opened when its process starts, and used by all its invocations. */
export interface LambdaPlace {
  readonly config: Config;
  readonly stores: Stores;
  /** In the order of the configuration. */
  readonly targets: readonly LiveTarget[];
  readonly log: Logger;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration, `given` or the one beside the function, and opens what it names. Throws `ConfigError`, also where
 * the state is not in DynamoDB: then no two functions would share it.
 */
export async function openLambdaPlace(env: Environment, given: string | undefined): Promise<LambdaPlace> {
  const file = given ?? join(env.LAMBDA_TASK_ROOT ?? import.meta.dirname, configFileName);
  const config = loadConfig(file, env);
  if (!config.aws) {
    throw new ConfigError([
      `${file}: state: is missing; functions in Lambda share theirs, as in state: dynamodb:TABLE`,
    ]);
  }
  const stores = await openStores(config);
  const targets = config.targets.map((target) => new LiveTarget(target, stores.state));
  return { config, stores, targets, log: createLogger(config.log) };
}
