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

/** Adds the routes of dead letters: those of targets, and under `ingress` those of the ingress queue. */
export function addDeadLetterRoutes(app: OpenAPIHono, deps: ControlDeps): void {
  const { stores, log, now = Date.now } = deps;
  app.openapi(listDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const { queue } = findQueue(deps, name);
    const letters = await queue.deadLetters.browse(context.req.valid("query").limit);
    const { deadMessages } = await queue.backlog();
    // The estimate of SQS may be lower than the number of dead letters that were just received.
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
    const { id, startedAt = new Date(now()).toISOString() } = context.req.valid("json");
    const { queue, target } = findQueue(deps, name);
    const redriven = await redrive({
      queue: queue.queue,
      deadLetters: queue.deadLetters,
      ledger: stores.state.ledger,
      ...(target !== undefined && { target }),
      ...(id !== undefined && { messageId: id }),
      startedAtMs: Date.parse(startedAt),
      ...redriveBounds,
    });
    log.info({ event: "redriven", queue: name, ...redriven }, "dead letters were put back into the queue");
    const { messages, obsolete, undecodable, done } = redriven;
    if (id !== undefined && done && messages + obsolete + undecodable === 0) throw noSuchLetter(name, id);
    const { deadMessages: remaining } = await queue.backlog();
    const answer: RedriveAnswer = { ...redriven, remaining, startedAt };
    return context.json(answer, 200);
  });
}

const maxBrowsed = 1_000;
// A call ends long before its caller gives up, and before the timeout of the function.
const redriveBounds = { maxMessages: 500, maxMs: 5_000, waitMs: 1_000 };

interface NamedQueue {
  readonly queue: OpenQueue;
  /** Name of the target whose ledger counts the dead letters. */
  readonly target?: string;
}

function findQueue({ targets, stores }: ControlDeps, name: string): NamedQueue {
  if (name === ingressQueue) {
    // The dead letters of a target that reads the ingress queue itself are there.
    const [target] = [...stores.targets].find(([, queue]) => queue === stores.ingress) ?? [];
    return { queue: stores.ingress, ...(target !== undefined && { target }) };
  }
  const queue = stores.targets.get(name);
  if (queue) return { queue, target: name };
  const names = [...targets.map((target) => target.name), ingressQueue].join(", ");
  throw new HTTPException(404, { message: `there is no queue ${name}; dead letters are kept for: ${names}` });
}

function noSuchLetter(queue: string, id: string): HTTPException {
  return new HTTPException(404, {
    message: `${queue} has no dead letter ${id}; spoa-relay dlq list ${queue} lists them`,
  });
}

function toAnswer(letter: DeadLetter): DeadLetterAnswer {
  const summary = describeDeadLetter(letter);
  const pack = readMessage(letter);
  if (pack instanceof DecodeError) return { ...summary, contents: [], undecodable: pack.message };
  return { ...summary, requests: pack.requests.length, contents: pack.requests.map(showRequest) };
}

const queueParam = z.object({
  queue: z.string().openapi({
    param: { description: "Name of a target, or ingress for packs that could not be fanned out" },
    examples: ["staging"],
  }),
});

const letterId = z
  .string({ error: 'must be a string, such as "42"' })
  .min(1)
  .max(128)
  .meta({ examples: ["42"] });

const letter = {
  id: z.string(),
  requests: z.int().optional().describe("Requests in it; absent if the message has no summary"),
  reason: z.string().describe("Why it is a dead letter"),
  firstCapturedAt: z
    .string()
    .optional()
    .describe("Capture time of its first request; absent if the message has no summary"),
  sentAt: z.iso
    .datetime()
    .describe("When it became a dead letter; if the queue moved it by itself, when its pack was sent"),
};

const shownRequest = z
  .object({
    id: z.string(),
    capturedAt: z.iso.datetime(),
    method: z.string(),
    path: z.string(),
    version: z.string(),
    headers: z.array(z.object({ name: z.string(), value: z.string() })).readonly(),
    bodyState: z.enum(["complete", "truncated", "omitted"]).describe("How much of the body was captured"),
    bodyBytes: z.int().describe("Size of the captured body"),
    body: z.string().describe("The first 2,000 bytes, as UTF-8"),
  })
  .describe("A captured request; values of headers that hold credentials are replaced by …")
  .openapi("ShownRequest");

const listDeadLetters = createRoute({
  method: "get",
  path: "/v1/queues/{queue}/dead-letters",
  summary: "The dead letters of a queue",
  request: {
    params: queueParam,
    query: strict({
      limit: wholeNumber({
        least: 1,
        most: maxBrowsed,
        otherwise: 100,
        description: "Largest number of dead letters to list",
      }),
    }),
  },
  responses: {
    200: json(
      z
        .object({
          queue: z.string(),
          messages: z.int().describe("Number of all dead letters; in SQS an estimate"),
          letters: z.array(z.object(letter)).readonly(),
        })
        .openapi("DeadLetters"),
      "The dead letters, roughly in the order in which they were sent",
    ),
    ...problemResponses(400, 401, 403, 404, 503),
  },
});

const getDeadLetter = createRoute({
  method: "get",
  path: "/v1/queues/{queue}/dead-letters/{id}",
  summary: "The requests of a dead letter, if it is among the first 1,000",
  request: {
    params: queueParam.extend({
      id: letterId.openapi({ param: { description: "Id of the dead letter, as in the list" } }),
    }),
  },
  responses: {
    200: json(
      z
        .object({
          ...letter,
          contents: z.array(shownRequest).readonly(),
          undecodable: z.string().optional().describe("Why the message cannot be decoded; contents is then empty"),
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
  summary: "Puts dead letters back into the queue; they are sent again at the target's rate",
  description:
    "Redrives the dead letters that are older than `startedAt`; those of requests that die again meanwhile stay. Ends after " +
    "500 dead letters or about 5 seconds. If `done` is false, more may be left: repeat the call with the `startedAt` of the " +
    "first answer until it is true.",
  request: {
    params: queueParam,
    body: {
      required: false,
      content: {
        "application/json": {
          schema: strict({
            id: letterId.optional().describe("Only this dead letter; by default all of them"),
            startedAt: z.iso
              .datetime({ error: 'must be a time in UTC, such as "2026-09-01T12:30:00.000Z"' })
              .optional()
              .describe("The startedAt of the first answer, if this call continues a redrive"),
          })
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
          messages: z.int().describe("Dead letters that were put back"),
          requests: z.int().describe("Requests in them"),
          obsolete: z
            .int()
            .describe(
              "Dead letters that a crash left although their requests were answered or redriven: removed, not sent",
            ),
          undecodable: z.int().describe("Dead letters that cannot be decoded and stay where they are"),
          newer: z.int().describe("Dead letters that are newer than startedAt and stay where they are"),
          remaining: z.int().describe("Dead letters that are left; in SQS an estimate"),
          startedAt: z.iso.datetime().describe("When the redrive started"),
          done: z.boolean().describe("False if the call ended before it saw all dead letters"),
        })
        .openapi("Redriven"),
      "What this call moved",
    ),
    ...problemResponses(400, 401, 403, 404, 413, 415, 503),
  },
});
