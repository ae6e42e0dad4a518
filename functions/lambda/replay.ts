import { assertReplayable } from "../../relay/config/replayable.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { functionVariables, readEnvironment } from "../../relay/deployed/functions.ts";
import type { Logger } from "../../relay/log/log.ts";
import type { MachineClock } from "../../relay/process/machine-clock.ts";
import type { Invocation } from "../batch.ts";
import { prepareLane, wireReplay } from "../replay-wiring.ts";
import { FunctionSecrets, parseSecretPlaces, readSecrets, secretReader } from "./function-secrets.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, type LambdaPlace, openLambdaPlace } from "./place.ts";

// A process that was idle for longer than 500 ms was probably frozen. Its connections may be dead without a sign: a request
// sent over one receives no answer, and a POST without an answer must not be repeated.
const freshMs = 500;

/**
 * The replay of one target in Lambda, for the event source mapping of the target's queue. Reads the target's secrets first, and
 * starts anew with changed ones. Throws as `openLambdaPlace`, if a secret cannot be read, and if there is no such target, its
 * certificate authority cannot be used or an environment variable is missing.
 *
 * @param machine by default this one
 */
export async function openReplay(env: Environment, machine?: MachineClock): Promise<LambdaHandler> {
  const settings = readEnvironment("replay", env);
  const places = parseSecretPlaces(settings.secrets);
  const read = secretReader(env);
  let values = await readSecrets(places, read);
  let lane = await openLane(env, values);
  const secrets = new FunctionSecrets({ places, read, values, log: lane.place.log, ...(machine && { machine }) });
  let idleSinceMs = Date.now();
  const useNewSecrets = async (): Promise<void> => {
    const current = await secrets.current();
    if (current === values) return;
    values = current;
    const { log } = lane.place;
    const old = lane;
    try {
      lane = await openLane(env, current, log);
    } catch (error) {
      // For example a line break in a value that is a header.
      const text = "new values of the secrets cannot be used: the function continues with the old ones";
      log.error({ event: "secrets-unusable", reason: (error as Error).message }, text);
      return;
    }
    await old.close();
    log.info({ event: "secrets-changed" }, "the function uses new values of its secrets");
  };
  const fetch = async (request: Request, invocation: Invocation): Promise<Response> => {
    await useNewSecrets();
    if (Date.now() - idleSinceMs > freshMs) await lane.reconnect();
    try {
      return await lane.app.fetch(request, invocation);
    } finally {
      lane.place.metrics.write();
      idleSinceMs = Date.now();
    }
  };
  const { place, queue, timeoutMs } = lane;
  const extend: typeof queue.extend = (...args) => lane.queue.extend(...args);
  return toLambdaHandler({ fetch }, { log: place.log, queue: { extend }, answerWithinMs: timeoutMs });
}

/** The way of requests to the target, with the given values of its secrets. */
async function openLane(env: Environment, secrets: Environment, log?: Logger) {
  const settings = readEnvironment("replay", env);
  const place = await openLambdaPlace({ ...env, ...secrets }, settings.config, log);
  try {
    return wireLane(place, settings.target);
  } catch (error) {
    await place.stores.close();
    throw error;
  }
}

function wireLane(place: LambdaPlace, target: string | undefined) {
  const { config, stores, targets } = place;
  assertReplayable(config, target);
  const live = targets.find(({ config: { name } }) => name === target);
  if (!live) {
    const names = targets.map(({ config: { name } }) => name).join(", ");
    const mistake = target === undefined ? "must name a target" : `there is no target ${target}`;
    throw new ConfigError([`${functionVariables.target}: ${mistake}; the configuration has: ${names}`]);
  }
  const connect = prepareLane(place, live);
  const wire = () => {
    const lane = connect();
    return { app: wireReplay(place, lane), transport: lane.transport };
  };
  let connected = wire();
  return {
    place,
    queue: stores.queueOf(live.config.name).queue,
    timeoutMs: live.config.timeoutMs,
    get app() {
      return connected.app;
    },
    async reconnect() {
      await connected.transport.close();
      connected = wire();
    },
    async close() {
      await connected.transport.close();
      await stores.close();
    },
  };
}
