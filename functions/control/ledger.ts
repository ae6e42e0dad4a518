import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { fates } from "../../relay/state/port.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { problemResponses } from "./problem.ts";
import { json, strict } from "./schema.ts";

/** Adds GET /v1/ledger: what happened to every request. */
export function addLedgerRoute(app: OpenAPIHono, readStats: (runs: readonly string[]) => Promise<HostStats>): void {
  app.openapi(getLedger, async (context) => {
    const { runs } = context.req.valid("query");
    return context.json(await readStats(runs?.split(" ") ?? []), 200);
  });
}

export const fatesSchema = z
  .object(Object.fromEntries(fates.map((fate) => [fate, z.int()])) as Record<(typeof fates)[number], z.ZodInt>)
  .describe("Number of requests with each fate")
  .openapi("Fates");

const controlSchema = z
  .object({
    settings: z
      .object({
        ratePerSecond: z.union([z.number(), z.literal("unlimited")]).optional(),
        concurrency: z.int().optional(),
        sample: z.number().optional(),
        paused: z.literal(true).optional(),
      })
      .optional(),
    breaker: z
      .object({ openedAtMs: z.number(), probeAtMs: z.number(), probes: z.int(), reason: z.string() })
      .optional(),
    slowdown: z.object({ factor: z.number(), atMs: z.number() }).optional(),
    queue: z.string().optional().describe("URL of the queue, in SQS"),
  })
  .describe("Changed settings, breaker and slowdown");

const problemSchema = z.string().optional().describe("Why the queue does not answer");
const damagedSchema = z
  .array(z.string())
  .readonly()
  .optional()
  .describe("Files of the queue that were damaged and set aside, with an unknown number of requests");
const occupied = {
  bytes: z.int().optional().describe("What the queue and its dead letters occupy on disk; absent in SQS"),
  maxBytes: z.int().optional().describe("Limit of bytes: beyond it, new requests are dropped; absent in SQS"),
};

const settled = {
  enqueued: z.int().describe("Requests fanned out while this target was configured"),
  fates: fatesSchema,
  letters: z
    .int()
    .optional()
    .describe("Dead letters that hold the requests with the fate deadLettered; deadMessages is at least as high"),
  waitingPacks: z.int().optional().describe("Packs with a request that has no fate; messages is at least as high"),
  messages: z.int().optional().describe("Packs in the target's queue; in SQS an estimate"),
  inQueue: z.int().optional().describe("Requests in them; absent in SQS, which does not count requests"),
  deadMessages: z.int().optional().describe("Packs among its dead letters; in SQS an estimate"),
  inDeadLetters: z.int().optional().describe("Requests in them; absent in SQS"),
  expiredDeadLetters: z
    .int()
    .optional()
    .describe("Requests in dead letters that the queue's retention removed; absent if there are none, and in SQS"),
  problem: problemSchema,
  damaged: damagedSchema,
  ...occupied,
};

const targetStatsSchema = z.object({
  ...settled,
  control: controlSchema,
  live: z.object({
    ratePerSecond: z.union([z.number(), z.literal("unlimited")]),
    concurrency: z.int(),
    sample: z.number(),
    paceFactor: z
      .number()
      .describe("Share of the rate at which requests are sent, 1/64 to 1: below 1 if the shadow asked to slow down"),
  }),
  held: z.string().optional().describe("Why nothing is sent now; absent if requests are sent"),
});

export const ledgerSchema = z
  .object({
    ingress: z.object({
      messages: z.int().optional().describe("Packs that wait for the fan-out; in SQS an estimate"),
      waiting: z.int().optional().describe("Requests in them; absent in SQS, which does not count requests"),
      deadMessages: z.int().optional().describe("Packs that cannot be decoded"),
      deadLettered: z.int().optional().describe("Requests in them, according to their summaries"),
      expired: z.int().optional().describe("Requests that the queue's retention removed; absent in SQS"),
      problem: problemSchema,
      damaged: damagedSchema,
      ...occupied,
    }),
    agents: z
      .array(z.object({ agent: z.string(), requests: z.int(), packs: z.int(), missingPacks: z.int() }))
      .readonly()
      .describe("What was fanned out, by agent and run; missingPacks have not arrived yet, or are lost"),
    ended: z
      .array(z.object({ agent: z.string(), runs: z.int(), requests: z.int(), packs: z.int(), missingPacks: z.int() }))
      .readonly()
      .optional()
      .describe(
        "The same for runs that nothing has arrived from for 15 days, added up by agent; `former agents` has those of agents that are gone",
      ),
    targets: z.record(z.string(), targetStatsSchema),
    removed: z
      .record(z.string(), z.object(settled))
      .optional()
      .describe(
        "Targets that are no longer in the configuration, but have requests that wait or are dead letters; nobody delivers them",
      ),
    jobs: z
      .record(
        z.string(),
        z.object({
          enqueued: z.int(),
          packs: z.int(),
          fates: fatesSchema,
          letters: z.int().optional(),
          waitingPacks: z.int().optional(),
        }),
      )
      .optional()
      .describe(
        "Replay jobs by id: what was put into the queues of their targets; `forgotten` is the sum of jobs that are no longer kept",
      ),
    captures: z
      .record(z.string(), z.object({ enqueued: z.int(), fates: fatesSchema, waitingPacks: z.int().optional() }))
      .optional()
      .describe("Captures by name: the requests that were fanned out to them"),
  })
  .openapi("Ledger");

const getLedger = createRoute({
  method: "get",
  path: "/v1/ledger",
  summary: "What happened to every request",
  request: {
    query: strict({
      runs: z
        .string()
        .regex(/^[^ ]+(?: [^ ]+){0,99}$/, { error: "must be up to 100 names with spaces between them" })
        .optional()
        .describe("Runs that are listed among `agents` even if they have ended: up to 100, with spaces between them"),
    }),
  },
  responses: { 200: json(ledgerSchema, "The host's side of the ledger"), ...problemResponses(400, 401, 403, 503) },
});
