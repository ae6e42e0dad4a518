import { createRoute, z } from "@hono/zod-openapi";
import { problemResponses } from "./problem.ts";
import { json, strict, wholeNumber } from "./schema.ts";

// The routes of dead letters, for the OpenAPI document.

/** The most dead letters that a call lists or searches. */
export const maxBrowsed = 1_000;

const queueParam = z.object({
  queue: z.string().openapi({
    param: {
      description:
        "Name of a target, or ingress for packs that could not be fanned out. If a target is no longer in the " +
        "configuration, the packs that wait in its queue are listed as dead letters, too",
    },
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
    hiddenBody: z.string().optional().describe("Why the body is not shown; absent if it is"),
  })
  .describe("A captured request; what looks like a secret is replaced by …")
  .openapi("ShownRequest");

export const listDeadLetters = createRoute({
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

export const getDeadLetter = createRoute({
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

const continued = z.iso
  .datetime({ error: 'must be a time in UTC, such as "2026-09-01T12:30:00.000Z"' })
  .optional()
  .describe("The startedAt of the first answer, if this call continues an earlier one");

const swept = {
  obsolete: z
    .int()
    .describe("Dead letters that a crash left although their requests were answered or redriven: removed, not sent"),
  newer: z.int().describe("Dead letters that are newer than startedAt and stay where they are"),
  remaining: z.int().describe("Dead letters that are left; in SQS an estimate"),
  startedAt: z.iso.datetime().describe("When the first call started"),
  done: z.boolean().describe("False if the call ended before it saw all dead letters"),
};

const sweepTime =
  "Ends after 500 dead letters or about 5 seconds. If `done` is false, more may be left: repeat the call with the " +
  "`startedAt` of the first answer until it is true.";

function toBody<Schema extends z.ZodType>(schema: Schema) {
  return { required: false, content: { "application/json": { schema } } };
}

export const redriveDeadLetters = createRoute({
  method: "post",
  path: "/v1/queues/{queue}/dead-letters/redrive",
  summary: "Puts dead letters back into the queue; they are sent again at the target's rate",
  description: `Redrives the dead letters that are older than \`startedAt\`; those of requests that die again meanwhile stay. ${sweepTime}`,
  request: {
    params: queueParam,
    body: toBody(
      strict({
        id: letterId.optional().describe("Only this dead letter; by default all of them"),
        to: z
          .string()
          .optional()
          .meta({ examples: ["next"] })
          .describe(
            "Another target to send to, which gets the requests that it has not had yet; required if this target is no longer in the configuration",
          ),
        startedAt: continued,
      })
        .meta({ examples: [{}, { id: "42" }] })
        .openapi("Redrive"),
    ),
  },
  responses: {
    200: json(
      z
        .object({
          messages: z.int().describe("Dead letters that were put into a queue"),
          requests: z.int().describe("Requests in them"),
          undecodable: z.int().describe("Dead letters that cannot be decoded and stay where they are"),
          ...swept,
        })
        .openapi("Redriven"),
      "What this call moved",
    ),
    ...problemResponses(400, 401, 403, 404, 413, 415, 503),
  },
});

export const discardDeadLetters = createRoute({
  method: "post",
  path: "/v1/queues/{queue}/dead-letters/discard",
  summary: "Removes dead letters for good; the ledger counts their requests as discarded",
  description: `Discards the dead letters that are older than \`startedAt\`. ${sweepTime}`,
  request: {
    params: queueParam,
    body: toBody(
      strict({
        id: letterId.optional().describe("Only this dead letter; by default all of them"),
        startedAt: continued,
      })
        .meta({ examples: [{}, { id: "42" }] })
        .openapi("Discard"),
    ),
  },
  responses: {
    200: json(
      z
        .object({
          messages: z.int().describe("Dead letters that were discarded"),
          requests: z.int().describe("Requests in them"),
          undecodable: z.int().describe("Dead letters that cannot be decoded, which were removed, too"),
          ...swept,
        })
        .openapi("Discarded"),
      "What this call discarded",
    ),
    ...problemResponses(400, 401, 403, 404, 413, 415, 503),
  },
});
