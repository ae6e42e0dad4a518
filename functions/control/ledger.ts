import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { fates } from "../../relay/state/port.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { problemResponses } from "./problem.ts";
import { json } from "./schema.ts";

/** Adds GET /v1/ledger: what became of all requests. */
export function addLedgerRoute(app: OpenAPIHono, readStats: () => Promise<HostStats>): void {
  app.openapi(getLedger, async (context) => context.json(await readStats(), 200));
}

export const fatesSchema = z
  .object(Object.fromEntries(fates.map((fate) => [fate, z.int()])) as Record<(typeof fates)[number], z.ZodInt>)
  .describe("Requests by what became of them")
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
  })
  .describe("What was changed since the start, and what its answers have led to");

const targetStatsSchema = z.object({
  enqueued: z.int(),
  fates: fatesSchema,
  messages: z.int().optional(),
  inQueue: z.int().optional().describe("Requests in them; absent in SQS, which does not count them"),
  deadMessages: z.int().optional(),
  inDeadLetters: z.int().optional(),
  problem: z.string().optional(),
  control: controlSchema,
  live: z.object({
    ratePerSecond: z.union([z.number(), z.literal("unlimited")]),
    concurrency: z.int(),
    sample: z.number(),
    paceFactor: z.number(),
  }),
  held: z.string().optional(),
});

export const ledgerSchema = z
  .object({
    ingress: z.object({
      messages: z.int().optional(),
      waiting: z.int().optional(),
      deadMessages: z.int().optional(),
      deadLettered: z.int().optional(),
      expired: z.int().optional(),
      problem: z.string().optional(),
    }),
    agents: z
      .array(z.object({ agent: z.string(), requests: z.int(), packs: z.int(), missingPacks: z.int() }))
      .readonly()
      .describe("By agent and run"),
    targets: z.record(z.string(), targetStatsSchema),
    jobs: z
      .record(z.string(), z.object({ enqueued: z.int(), packs: z.int(), fates: fatesSchema }))
      .optional()
      .describe(
        "Replay jobs by their ids: what they have put into the queues of their targets; `forgotten`: all that are kept no more",
      ),
    captures: z.record(z.string(), z.object({ enqueued: z.int(), fates: fatesSchema })).optional(),
  })
  .openapi("Ledger");

const getLedger = createRoute({
  method: "get",
  path: "/v1/ledger",
  summary: "What became of every request",
  responses: { 200: json(ledgerSchema, "The host's side of the ledger"), ...problemResponses(401, 403, 503) },
});
