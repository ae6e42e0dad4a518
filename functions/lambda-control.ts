import { createControl } from "./control.ts";
import { EventSourceMappings, parseMappings } from "./event-source-mapping.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./lambda-place.ts";
import { createSchedule } from "./schedule.ts";

/**
 * The control API in Lambda, for a function URL whose callers IAM has checked: this function asks for no token. With
 * `RELAY_MAPPINGS`, as the schedule has it, a target that is paused or resumed is switched at once. Throws as `openSchedule`.
 */
export async function openControl(env: Environment): Promise<LambdaHandler> {
  const { config, stores, log } = await openLambdaPlace(env);
  const { targets } = config;
  const control = createControl({ targets, stores, access: { kind: "checked" }, log });
  const mappings = parseMappings(env.RELAY_MAPPINGS, targets);
  const schedule = createSchedule({
    targets,
    controls: stores.state,
    switches: new EventSourceMappings(),
    mappings,
    log,
  });
  const fetch = async (request: Request): Promise<Response> => {
    const response = await control.fetch(request);
    const changed = request.method !== "GET" && response.ok;
    // What fails here is in the log, and done by the schedule within a minute.
    if (changed && mappings.size > 0) await schedule.request("/", { method: "POST" });
    return response;
  };
  return toLambdaHandler({ fetch }, { log });
}
