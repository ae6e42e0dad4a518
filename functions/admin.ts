import { Hono } from "hono";
import type { HostStats } from "../relay/host-stats.ts";
import { createHostMetrics } from "./metrics.ts";

/** Serves /stats, /metrics, /healthz and /readyz of a host. */
export function createAdmin(readStats: () => Promise<HostStats>): Hono {
  const app = new Hono();
  const metrics = createHostMetrics(readStats);
  app.get("/healthz", (context) => context.text("ok\n"));
  app.get("/readyz", async (context) => {
    const reason = await whyNotReady(readStats);
    return reason === undefined ? context.text("ready\n") : context.text(`${reason}\n`, 503);
  });
  app.get("/stats", async (context) => context.json(await readStats()));
  app.get("/metrics", async (context) => {
    context.header("content-type", metrics.contentType);
    return context.body(await metrics.metrics());
  });
  app.onError((error, context) => context.text(`${error.message}\n`, 503));
  app.notFound((context) => context.text("known here: /stats /metrics /healthz /readyz\n", 404));
  return app;
}

async function whyNotReady(readStats: () => Promise<HostStats>): Promise<string | undefined> {
  try {
    const { problem } = (await readStats()).ingress;
    return problem === undefined ? undefined : `the ingress queue does not answer: ${problem}`;
  } catch (error) {
    return `queues and state on this machine cannot be read: ${(error as Error).message}`;
  }
}
