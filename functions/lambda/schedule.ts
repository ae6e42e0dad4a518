import { readEnvironment } from "../../relay/deployed/functions.ts";
import { rememberQueues } from "../../relay/removed-queues.ts";
import type { Invocation } from "../batch.ts";
import { CaptureUpkeep } from "../capture/upkeep.ts";
import { EventSourceMappings, parseMappings } from "../host/event-source-mapping.ts";
import { measureState } from "../host/state-metrics.ts";
import { createSchedule } from "../schedule/schedule.ts";
import { wireFeeder } from "../wiring.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./place.ts";

// The schedule runs each minute: one run may fail before a pack is late.
const feedAheadMs = 120_000;
// SQS delays by whole seconds, and a function may have to be started.
const feedLeadMs = 2_000;
const feedLeaseMs = 30_000;
const feedMaxWaiting = 500_000;

/**
 * The schedule in Lambda. Throws as `openLambdaPlace`, and if the mappings cannot be parsed or name an unknown target.
 */
export async function openSchedule(env: Environment): Promise<LambdaHandler> {
  const settings = readEnvironment("schedule", env);
  const place = await openLambdaPlace(env, settings.config);
  const { config, stores, metrics, log } = place;
  const { aws, targets } = config;
  const { state } = stores;
  let remembered = false;
  const feeder = wireFeeder(place, {
    lookAheadMs: feedAheadMs,
    leadMs: feedLeadMs,
    leaseMs: feedLeaseMs,
    maxWaiting: feedMaxWaiting,
  });
  const upkeep = new CaptureUpkeep({ captures: config.captures, archives: stores.archives, log });
  const app = createSchedule({
    targets,
    controls: state.controls,
    switches: new EventSourceMappings(),
    mappings: parseMappings(settings.mappings, targets),
    fold: () => state.fold(),
    feed: (signal) => feeder.run(signal),
    upkeep: () => upkeep.run(),
    async remember() {
      if (!remembered && aws) await rememberQueues({ aws, targets, controls: state.controls });
      remembered = true;
    },
    measure: () => measureState({ targets, ledger: state.ledger, controls: state.controls, metrics }),
    log,
  });
  const fetch = async (request: Request, invocation: Invocation): Promise<Response> => {
    try {
      return await app.fetch(request, invocation);
    } finally {
      metrics.write();
    }
  };
  return toLambdaHandler({ fetch }, { log });
}
