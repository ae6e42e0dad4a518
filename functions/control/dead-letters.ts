import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import type { DeadLetterAnswer, DeadLettersAnswer, RedriveAnswer } from "../../relay/control/answers.ts";
import { describeDeadLetter, redrive } from "../../relay/control/dead-letters.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { showRequest } from "../../relay/pack/request-text.ts";
import { readMessage } from "../../relay/queue/message.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import type { DeadLetter, OpenQueue } from "../../relay/queue/port.ts";
import type { ControlDeps } from "./deps.ts";
import { problemResponses } from "./problem.ts";
import { json, strict, wholeNumber } from "./schema.ts";

/** Adds the routes of dead letters: those of the targets, and under the name `ingress` the packs that came to none. */
export function addDeadLetterRoutes(app: OpenAPIHono, deps: ControlDeps): void {
  const { stores, log } = deps;
  app.openapi(listDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const { queue } = findQueue(deps, name);
    const letters = await queue.deadLetters.browse(context.req.valid("query").limit);
    const { deadMessages } = await queue.backlog();
    // An estimate may be behind what has just been seen.
    const messages = Math.max(deadMessages, letters.length);
    const answer: DeadLettersAnswer = { queue: name, messages, letters: letters.map(describeDeadLetter) };
    return context.json(answer, 200);
  });
  app.openapi(getDeadLetter, async (context) => {
    const { queue: name, id } = context.req.valid("param");
    const letters = await findQueue(deps, name).queue.deadLetters.browse(maxBrowsed);
    const letter = letters.find(({ messageId }) => messageId === id);
    if (!letter) throw noSuchLetter(name, id);
    return context.json(toAnswer(letter), 200);
  });
  app.openapi(redriveDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const { id } = context.req.valid("json");
    const { queue, target } = findQueue(deps, name);
    const redriven = await redrive({
      queue: queue.queue,
      deadLetters: queue.deadLetters,
      ledger: stores.state.ledger,
      ...(target !== undefined && { target }),
      ...(id !== undefined && { messageId: id }),
      ...redriveBounds,
    });
    const { messages, requests, undecodable, done } = redriven;
    log.info({ event: "redriven", queue: name, messages, requests, undecodable, done }, "dead letters are sent again");
    if (id !== undefined && done && messages + undecodable === 0) throw noSuchLetter(name, id);
    const { deadMessages: remaining } = await queue.backlog();
    const answer: RedriveAnswer = { messages, requests, undecodable, remaining, done };
    return context.json(answer, 200);
  });
}

const maxBrowsed = 1_000;
// A call ends long before whoever asks gives up, and before a function has to.
const redriveBounds = { maxMessages: 500, maxMs: 5_000, waitMs: 1_000 };

interface NamedQueue {
  readonly queue: OpenQueue;
  /** Whose ledger has its dead letters. */
  readonly target?: string;
}

function findQueue({ targets, stores }: ControlDeps, name: string): NamedQueue {
  if (name === ingressQueue) {
    // A target that reads the ingress queue itself has its dead letters there.
    const [target] = [...stores.targets].find(([, queue]) => queue === stores.ingress) ?? [];
    return { queue: stores.ingress, ...(target !== undefined && { target }) };
  }
  const queue = stores.targets.get(name);
  if (queue) return { queue, target: name };
  const names = targets.map((target) => target.name).join(", ");
  throw new HTTPException(404, {
    message: `there is no target ${name}; the configuration has: ${names}; and ${ingressQueue}`,
  });
}

function noSuchLetter(queue: string, id: string): HTTPException {
  return new HTTPException(404, { message: `${queue} has no dead letter ${id}; dlq list ${queue} shows them` });
}

function toAnswer(letter: DeadLetter): DeadLetterAnswer {
  const summary = describeDeadLetter(letter);
  const pack = readMessage(letter);
  if (pack instanceof DecodeError) return { ...summary, contents: [], undecodable: pack.message };
  return { ...summary, requests: pack.requests.length, contents: pack.requests.map(showRequest) };
}

const queueParam = z.object({
  queue: z.string().openapi({
    param: { description: "A target's name, or ingress: packs that came to no target" },
    examples: ["staging"],
  }),
});

const letterId = z
  .string()
  .min(1)
  .max(128)
  .meta({ examples: ["42"] });

const letter = {
  id: z.string(),
  requests: z.int().optional(),
  reason: z.string(),
  firstCapturedAt: z.string().optional(),
  sentAt: z.iso.datetime(),
};

const shownRequest = z
  .object({
    id: z.string(),
    capturedAt: z.iso.datetime(),
    method: z.string(),
    path: z.string(),
    version: z.string(),
    headers: z.array(z.object({ name: z.string(), value: z.string() })).readonly(),
    bodyState: z.enum(["complete", "truncated", "omitted"]),
    bodyBytes: z.int(),
    body: z.string().describe("The first 2,000 bytes, as UTF-8"),
  })
  .describe("Without credentials")
  .openapi("ShownRequest");

const listDeadLetters = createRoute({
  method: "get",
  path: "/v1/queues/{queue}/dead-letters",
  summary: "The dead letters of a queue",
  request: {
    params: queueParam,
    query: strict({
      limit: wholeNumber({ least: 1, most: maxBrowsed, otherwise: 100, description: "At most so many" }),
    }),
  },
  responses: {
    200: json(
      z
        .object({
          queue: z.string(),
          messages: z.int().describe("All there are; in SQS an estimate"),
          letters: z.array(z.object(letter)).readonly(),
        })
        .openapi("DeadLetters"),
      "About in the order they were sent",
    ),
    ...problemResponses(400, 401, 403, 404, 503),
  },
});

const getDeadLetter = createRoute({
  method: "get",
  path: "/v1/queues/{queue}/dead-letters/{id}",
  summary: "The requests of one of the first 1,000 dead letters",
  request: {
    params: queueParam.extend({ id: letterId.openapi({ param: { description: "Its id in the list" } }) }),
  },
  responses: {
    200: json(
      z
        .object({
          ...letter,
          contents: z.array(shownRequest).readonly(),
          undecodable: z.string().optional().describe("Why there are no contents"),
        })
        .openapi("DeadLetter"),
      "The dead letter",
    ),
    ...problemResponses(400, 401, 403, 404, 503),
  },
});

const redriveDeadLetters = createRoute({
  method: "post",
  path: "/v1/queues/{queue}/dead-letters/redrive",
  summary: "Puts dead letters back into the queue, at whose rate they are sent again",
  description:
    "Ends after 500 dead letters or about five seconds. Where `done` is false there are more: ask again until it is true.",
  request: {
    params: queueParam,
    body: {
      required: false,
      content: {
        "application/json": {
          schema: strict({ id: letterId.optional().describe("Only this one") })
            .meta({ examples: [{}, { id: "42" }] })
            .openapi("Redrive"),
        },
      },
    },
  },
  responses: {
    200: json(
      z
        .object({
          messages: z.int().describe("Dead letters that went back"),
          requests: z.int().describe("Requests in them"),
          undecodable: z.int().describe("Dead letters that cannot be decoded, and stay"),
          remaining: z.int().describe("Dead letters that are left; in SQS an estimate"),
          done: z.boolean(),
        })
        .openapi("Redriven"),
      "What this call has done",
    ),
    ...problemResponses(400, 401, 403, 404, 413, 415, 503),
  },
});
