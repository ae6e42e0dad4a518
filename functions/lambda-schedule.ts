import { CaptureUpkeep } from "./capture-upkeep.ts";
import { EventSourceMappings, parseMappings } from "./event-source-mapping.ts";
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
  const { state } = stores;
  const upkeep = new CaptureUpkeep({ captures: config.captures, archives: stores.archives, log });
  const app = createSchedule({
    targets,
    controls: state,
    switches: new EventSourceMappings(),
    mappings: parseMappings(env.RELAY_MAPPINGS, targets),
    fold: async () => state.fold?.(),
    upkeep: () => upkeep.run(),
    log,
  });
  return toLambdaHandler(app, { log });
}
