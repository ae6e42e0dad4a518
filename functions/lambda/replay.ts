import { assertReplayable } from "../../relay/config/config.ts";
import { ConfigError } from "../../relay/config/text.ts";
import { TargetCredentials } from "../../relay/credentials/target-credentials.ts";
import { functionVariables, readEnvironment } from "../../relay/deployed/functions.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import { createLane } from "../../relay/replay/lane.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { Transport } from "../../relay/replay/transport.ts";
import type { Invocation } from "../batch.ts";
import { createReplay } from "../replay.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./place.ts";

// A process that had nothing to do for longer was frozen meanwhile, and its connections may be dead without a sign: what
// is sent over them gets no answer, and a POST without an answer must not be repeated.
const freshMs = 500;

/**
 * The replay of one target in Lambda, for the event source mapping of the target's queue. Throws as `openLambdaPlace`,
 * and where there is no such target, its certificate authority cannot be used or an environment variable is missing.
 */
export async function openReplay(env: Environment): Promise<LambdaHandler> {
  const settings = readEnvironment("replay", env);
  const { config, stores, targets, metrics, log } = await openLambdaPlace(env, settings.config);
  assertReplayable(config, settings.target);
  const live = targets.find((target) => target.config.name === settings.target);
  if (!live) {
    const names = targets.map((target) => target.config.name).join(", ");
    const given = `${functionVariables.target}: ${settings.target ?? "nothing"}`;
    throw new ConfigError([`${given} is none of the targets: ${names}`]);
  }
  const { name, timeoutMs } = live.config;
  const { queue, deadLetters } = stores.queueOf(name);
  const direct = stores.queueOf(name) === stores.ingress;
  const pacer = new Pacer(name, live, stores.state);
  const figures = new FigureBook(name, metrics.over(stores.state));
  const credentials = TargetCredentials.of(live.config, log);
  const connect = () => {
    const transport = new Transport(live.config);
    const lane = createLane({ live, transport, pacer, figures, credentials });
    const app = createReplay({ lane, queue, deadLetters, ledger: stores.state, direct, metrics, log });
    return { app, transport };
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
