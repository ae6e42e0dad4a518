import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import { StateError } from "../../relay/state/port.ts";
import type { HostStats } from "../../relay/stats/host-stats.ts";
import { warningsOf } from "../../relay/stats/warnings.ts";
import { ledgerSchema } from "../control/ledger.ts";
import { amountSchema, json } from "../control/schema.ts";
import { createHostMetrics } from "./metrics.ts";

/** Serves /stats, /metrics, /warnings, /healthz and /readyz of a host, and /v1/health. */
export function createAdmin(readStats: () => Promise<HostStats>): OpenAPIHono {
  const app = new OpenAPIHono();
  const metrics = createHostMetrics(readStats);
  const readiness = new Readiness(readStats);
  app.openapi(getHealthz, (context) => context.text("ok\n", 200));
  app.openapi(getReadyz, async (context) => {
    const reason = await readiness.problem();
    return reason === undefined ? context.text("ready\n", 200) : context.text(`${reason}\n`, 503);
  });
  app.openapi(getHealth, async (context) => {
    const reason = await readiness.problem();
    if (reason === undefined) return context.json({ ready: true }, 200);
    return context.json({ ready: false, reason }, 503);
  });
  // A host with warnings is ready: it delivers to all targets of its configuration.
  app.openapi(getWarnings, async (context) => context.json({ warnings: warningsOf(await readStats()) }, 200));
  app.openapi(getStats, async (context) => context.json(await readStats(), 200));
  app.openapi(getMetrics, async (context) => {
    context.header("content-type", metrics.contentType);
    return context.body(await metrics.metrics(), 200);
  });
  app.onError((error, context) => context.text(`${error.message}\n`, 503));
  return app;
}

// Callers of /readyz are not authenticated, and each check reads every queue: the result is shared for a second.
const keptMs = 1_000;

class Readiness {
  readonly #readStats: () => Promise<HostStats>;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #look: Promise<string | undefined> = Promise.resolve(undefined);

  constructor(readStats: () => Promise<HostStats>) {
    this.#readStats = readStats;
  }

  /** Why the host cannot do its work; undefined if it can. */
  problem(): Promise<string | undefined> {
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs > keptMs) {
      this.#lookedAtMs = nowMs;
      this.#look = whyNotReady(this.#readStats);
    }
    return this.#look;
  }
}

async function whyNotReady(readStats: () => Promise<HostStats>): Promise<string | undefined> {
  try {
    const { ingress, targets } = await readStats();
    if (ingress.problem !== undefined) return `the ingress queue does not answer: ${ingress.problem}`;
    const [away] = Object.entries(targets).filter(([, { problem }]) => problem !== undefined);
    return away && `the queue of target ${away[0]} does not answer: ${away[1].problem}`;
  } catch (error) {
    // Anybody may call this: an error other than a StateError might reveal more than the caller is allowed to see.
    return `the queues and the state store cannot be read${error instanceof StateError ? `: ${error.message}` : ""}`;
  }
}

function text(description: string, type = "text/plain") {
  return { description, content: { [type]: { schema: z.string() } } };
}

const health = z.object({ ready: z.boolean(), reason: z.string().optional() }).openapi("Health");

const getHealthz = createRoute({
  method: "get",
  path: "/healthz",
  summary: "Whether the process runs",
  security: [],
  responses: { 200: text("The process runs") },
});

const getReadyz = createRoute({
  method: "get",
  path: "/readyz",
  summary: "Whether the host can do its work",
  security: [],
  responses: { 200: text("The host is ready"), 503: text("The reason why the host is not ready") },
});

const getHealth = createRoute({
  method: "get",
  path: "/v1/health",
  summary: "Whether the host can do its work, as JSON",
  security: [],
  responses: { 200: json(health, "The host is ready"), 503: json(health, "The host is not ready, with the reason") },
});

const getWarnings = createRoute({
  method: "get",
  path: "/warnings",
  summary: "Requests that will be lost if nobody acts; the host is ready all the same",
  responses: {
    200: json(
      z
        .object({
          warnings: z
            .array(
              z.object({
                target: z.string().describe("A target that is no longer in the configuration, but has requests"),
                waiting: amountSchema,
                deadLetters: amountSchema,
                detail: z.string().describe("What is wrong, and what to do"),
              }),
            )
            .readonly(),
        })
        .openapi("Warnings"),
      "Empty if there is nothing to do",
    ),
    503: text("The reason why the queues cannot be read"),
  },
});

const getStats = createRoute({
  method: "get",
  path: "/stats",
  summary: "The ledger, for scripts",
  responses: {
    200: json(ledgerSchema, "The host's side of the ledger"),
    503: text("The reason why the ledger cannot be read"),
  },
});

const getMetrics = createRoute({
  method: "get",
  path: "/metrics",
  summary: "Metrics for Prometheus",
  responses: { 200: text("The metrics in Prometheus' text format") },
});
