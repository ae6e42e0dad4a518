import { z } from "zod";
import { ConfigError } from "../relay/config-text.ts";
import { DynamoDbState } from "../relay/state/dynamodb.ts";
import { EventSourceMappings } from "./event-source-mapping.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./lambda-place.ts";
import { createSchedule } from "./schedule.ts";

/**
 * The schedule in Lambda. `RELAY_MAPPINGS` is a JSON object with the UUID of each target's event source mapping by the
 * target's name. Throws as `openLambdaPlace`, and where that cannot be read or names what is no target.
 */
export async function openSchedule(env: Environment): Promise<LambdaHandler> {
  const { config, stores, log } = await openLambdaPlace(env);
  const { targets } = config;
  const mappings = parseMappings(env.RELAY_MAPPINGS ?? "{}");
  const stranger = [...mappings.keys()].find((name) => !targets.some((target) => target.name === name));
  if (stranger !== undefined) throw new ConfigError([`RELAY_MAPPINGS: ${stranger} is none of the targets`]);
  const { state } = stores;
  const app = createSchedule({
    targets,
    controls: state,
    switches: new EventSourceMappings(),
    mappings,
    ...(state instanceof DynamoDbState && { fold: () => state.fold() }),
    log,
  });
  return toLambdaHandler(app, { log });
}

function parseMappings(json: string): ReadonlyMap<string, string> {
  try {
    return new Map(Object.entries(z.record(z.string(), z.string().min(1)).parse(JSON.parse(json))));
  } catch {
    const example = '{"staging":"14e0db71-5d35-4eb5-b481-8945cf9d10c2"}';
    throw new ConfigError([`RELAY_MAPPINGS: must be UUIDs by the names of targets, such as ${example}`]);
  }
}
