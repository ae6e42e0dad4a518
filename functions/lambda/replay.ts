import { assertReplayable } from "../../relay/config/replayable.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { functionVariables, readEnvironment } from "../../relay/deployed/functions.ts";
import type { Invocation } from "../batch.ts";
import { prepareLane, wireReplay } from "../replay-wiring.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./place.ts";

// A process that was idle for longer than 500 ms was probably frozen. Its connections may be dead without a sign: a request
// sent over one receives no answer, and a POST without an answer must not be repeated.
const freshMs = 500;

/**
 * The replay of one target in Lambda, for the event source mapping of the target's queue. Throws as `openLambdaPlace`, and if
 * there is no such target, its certificate authority cannot be used or an environment variable is missing.
 */
export async function openReplay(env: Environment): Promise<LambdaHandler> {
  const settings = readEnvironment("replay", env);
  const place = await openLambdaPlace(env, settings.config);
  const { config, stores, targets, metrics, log } = place;
  assertReplayable(config, settings.target);
  const live = targets.find((target) => target.config.name === settings.target);
  if (!live) {
    const names = targets.map((target) => target.config.name).join(", ");
    const mistake = settings.target === undefined ? "must name a target" : `there is no target ${settings.target}`;
    throw new ConfigError([`${functionVariables.target}: ${mistake}; the configuration has: ${names}`]);
  }
  const { name, timeoutMs } = live.config;
  const { queue } = stores.queueOf(name);
  const openLane = prepareLane(place, live);
  const connect = () => {
    const lane = openLane();
    return { app: wireReplay(place, lane), transport: lane.transport };
  };
  let connected = connect();
  let idleSinceMs = Date.now();
  const fetch = async (request: Request, invocation: Invocation): Promise<Response> => {
    if (Date.now() - idleSinceMs > freshMs) {
      await connected.transport.close();
      connected = connect();
    }
    try {
      return await connected.app.fetch(request, invocation);
    } finally {
      metrics.write();
      idleSinceMs = Date.now();
    }
  };
  return toLambdaHandler({ fetch }, { log, queue, answerWithinMs: timeoutMs });
}
