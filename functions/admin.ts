import { Hono } from "hono";
import { Gauge, Registry } from "prom-client";
import type { HostStats } from "../relay/host-stats.ts";

/** Serves /stats, /metrics and /healthz of a host. */
export function createAdmin(readStats: () => Promise<HostStats>): Hono {
  const app = new Hono();
  const metrics = createHostMetrics(readStats);
  app.get("/healthz", (context) => context.text("ok\n"));
  app.get("/stats", async (context) => context.json(await readStats()));
  app.get("/metrics", async (context) => {
    context.header("content-type", metrics.contentType);
    return context.body(await metrics.metrics());
  });
  app.onError((error, context) => context.text(`${error.message}\n`, 503));
  app.notFound((context) => context.text("known here: /stats /metrics /healthz\n", 404));
  return app;
}

function createHostMetrics(readStats: () => Promise<HostStats>): Registry {
  const registry = new Registry();
  const registers = [registry];
  // Gauges, although most of these only grow: they are read from the ledger and survive restarts.
  new Gauge({
    name: "spoa_relay_target_requests",
    help: "Requests of a target by fate; enqueued is the sum of all others",
    labelNames: ["target", "fate"],
    registers,
    async collect() {
      this.reset();
      for (const [target, { enqueued, fates, inQueue }] of Object.entries((await readStats()).targets)) {
        this.set({ target, fate: "enqueued" }, enqueued);
        this.set({ target, fate: "waiting" }, inQueue);
        for (const [fate, count] of Object.entries(fates)) this.set({ target, fate }, count);
      }
    },
  });
  new Gauge({
    name: "spoa_relay_ingress_requests",
    help: "Requests that wait for the fan-out (SQS cannot count them), or that it could not decode",
    labelNames: ["state"],
    registers,
    async collect() {
      const { ingress } = await readStats();
      this.reset();
      if (ingress.waiting !== undefined) this.set({ state: "waiting" }, ingress.waiting);
      this.set({ state: "deadLettered" }, ingress.deadLettered);
    },
  });
  new Gauge({
    name: "spoa_relay_ingress_messages",
    help: "Packs that wait for the fan-out; absent while the queue does not answer",
    registers,
    async collect() {
      const { messages } = (await readStats()).ingress;
      // Without this the gauge would show the last figure, or 0.
      this.remove();
      if (messages !== undefined) this.set(messages);
    },
  });
  new Gauge({
    name: "spoa_relay_missing_packs",
    help: "Packs of an agent's run whose number was passed over",
    labelNames: ["agent"],
    registers,
    async collect() {
      this.reset();
      for (const { agent, missingPacks } of (await readStats()).agents) this.set({ agent }, missingPacks);
    },
  });
  return registry;
}
