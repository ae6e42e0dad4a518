import { readEnvironment } from "../../relay/deployed/functions.ts";
import { createControl } from "../control/control.ts";
import { EventSourceMappings, parseMappings } from "../host/event-source-mapping.ts";
import { createSchedule } from "../schedule/schedule.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./place.ts";

/**
 * The control API in Lambda, for a function URL that IAM protects: this function itself asks for no token. With mappings, as
 * for the schedule, it switches the mapping of a target at once when the target is paused or resumed. Throws as
 * `openSchedule`.
 */
export async function openControl(env: Environment): Promise<LambdaHandler> {
  const settings = readEnvironment("control", env);
  const { config, stores, log } = await openLambdaPlace(env, settings.config);
  const { targets } = config;
  const control = createControl({ targets, stores, access: { kind: "checked" }, log });
  const mappings = parseMappings(settings.mappings, targets);
  const schedule = createSchedule({
    targets,
    controls: stores.state.controls,
    switches: new EventSourceMappings(),
    mappings,
    log,
  });
  const fetch = async (request: Request): Promise<Response> => {
    const response = await control.fetch(request);
    // Even after an error: the change may have been made. If this fails, the schedule switches the mapping within a minute.
    const changed = request.method !== "GET" && new URL(request.url).pathname.startsWith("/v1/targets/");
    if (changed && mappings.size > 0) await schedule.request("/", { method: "POST" });
    return response;
  };
  return toLambdaHandler({ fetch }, { log });
}
