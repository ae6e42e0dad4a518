import type { OpenQueue } from "../relay/queue/port.ts";
import { createSinks } from "./capture-sink.ts";
import { createFanOut } from "./fanout.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./lambda-place.ts";

/** The fan-out in Lambda, for the event source mapping of the ingress queue. Throws as `openLambdaPlace`. */
export async function openFanOut(env: Environment): Promise<LambdaHandler> {
  const { config, stores, targets, log } = await openLambdaPlace(env);
  const app = createFanOut({
    targets,
    queueOf: (target) => (stores.targets.get(target) as OpenQueue).queue,
    captures: createSinks(config.captures, stores.archives, log),
    ingress: stores.ingress.queue,
    deadLetters: stores.ingress.deadLetters,
    ledger: stores.state,
    log,
  });
  return toLambdaHandler(app, { log, queue: stores.ingress.queue });
}
