import { readEnvironment } from "../../relay/deployed/functions.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import type { Invocation } from "../batch.ts";
import { wireFanOut } from "../wiring.ts";
import { type LambdaHandler, toLambdaHandler } from "./lambda.ts";
import { type Environment, openLambdaPlace } from "./place.ts";

/** The fan-out in Lambda, for the event source mapping of the ingress queue. Throws as `openLambdaPlace`. */
export async function openFanOut(env: Environment): Promise<LambdaHandler> {
  const place = await openLambdaPlace(env, readEnvironment("fanout", env).config);
  const { stores, targets, metrics, log } = place;
  const figures = new Map(targets.map(({ config: { name } }) => [name, new FigureBook(name, stores.state.figures)]));
  const app = wireFanOut(place, figures);
  const fetch = async (request: Request, invocation: Invocation): Promise<Response> => {
    const response = await app.fetch(request, invocation);
    await Promise.all(Array.from(figures.values(), (book) => book.flush()));
    metrics.write();
    return response;
  };
  return toLambdaHandler({ fetch }, { log, queue: stores.ingress.queue });
}
