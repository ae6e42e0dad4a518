import { join } from "node:path";
import { loadConfig } from "../../relay/config/load.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { configFileName } from "../../relay/deployed/functions.ts";
import { createLogger, type Logger } from "../../relay/log/log.ts";
import { queuePlaceOf } from "../../relay/queue/sqs-url.ts";
import { MetricLine } from "../metric-line.ts";
import { openParts, type Parts } from "../wiring.ts";

/** The surroundings of a function in Lambda: opened when its process starts, used by all its invocations. */
export interface LambdaPlace extends Parts {
  readonly metrics: MetricLine;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration, `given` or the one beside the function, and opens its stores. Throws `ConfigError`, also if the
 * state is not in DynamoDB: functions could not share it.
 *
 * @param openLog the log of the process, if there is one already
 */
export async function openLambdaPlace(
  env: Environment,
  given: string | undefined,
  openLog?: Logger,
): Promise<LambdaPlace> {
  const file = given ?? join(env.LAMBDA_TASK_ROOT ?? import.meta.dirname, configFileName);
  const config = loadConfig(file, env);
  const { aws, ingress } = config;
  if (!aws || ingress.kind !== "sqs") {
    throw new ConfigError([
      `${file}: state: is missing; functions in Lambda need one that they share, as in state: dynamodb:TABLE`,
    ]);
  }
  const log = openLog ?? createLogger(config.log);
  const { name } = queuePlaceOf(new URL(ingress.url));
  return { ...(await openParts(config, log)), metrics: new MetricLine(name, log) };
}
