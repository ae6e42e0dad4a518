import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Registry } from "prom-client";
import type { AgentStats } from "../relay/agent-stats.ts";
import type { ListenAddress } from "../relay/config-schema.ts";

export interface AdminOptions {
  readonly stats: () => AgentStats;
  readonly metrics: Registry;
  /** Why the agent is not ready: each reason, none where it is. */
  readonly unready: () => readonly string[];
}

/** Serves /stats, /metrics, /healthz and /readyz. Rejects with a text that says what to do when the address is taken. */
export async function serveAdmin(address: ListenAddress, options: AdminOptions): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, body: string): void => {
      response.writeHead(status, { "content-type": type }).end(body);
    };
    switch (request.url) {
      case "/stats":
        return answer(200, "application/json", `${JSON.stringify(options.stats())}\n`);
      case "/healthz":
        return answer(200, "text/plain", "ok\n");
      case "/readyz": {
        const reasons = options.unready();
        if (reasons.length === 0) return answer(200, "text/plain", "ready\n");
        return answer(503, "text/plain", reasons.map((reason) => `${reason}\n`).join(""));
      }
      case "/metrics":
        options.metrics.metrics().then(
          (text) => answer(200, options.metrics.contentType, text),
          (error: Error) => answer(500, "text/plain", `${error.message}\n`),
        );
        return;
      default:
        return answer(404, "text/plain", "known here: /stats /metrics /healthz /readyz\n");
    }
  });
  const listening = once(server, "listening");
  if (address.kind === "unix") server.listen(address.path);
  else server.listen(address.port, address.host);
  try {
    await listening;
  } catch (error) {
    const place = address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
    throw new Error(`agent.admin: cannot listen on ${place}: ${(error as Error).message}; choose another agent.admin`);
  }
  // Scrapes come and go; they must not keep a stopping agent alive.
  server.unref();
  return server;
}
