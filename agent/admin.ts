import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AggregatorRegistry, PrometheusContentType, Registry } from "prom-client";
import { isLoopback, type ListenAddress } from "../relay/config/forms.ts";
import { adminServerOptions, limitConnections } from "../relay/control/admin-connections.ts";
import { isForeignPage, namesThisMachine } from "../relay/control/web-page.ts";
import type { AgentStats } from "../relay/stats/agent-stats.ts";
import { adminConnectionLimit } from "./listener/connection-limit.ts";
import { removeStaleSocket } from "./listener/listener.ts";

export interface AdminOptions {
  readonly stats: () => AgentStats | Promise<AgentStats>;
  readonly metrics: Registry | AggregatorRegistry<PrometheusContentType>;
  /** The reasons why the agent is not ready; empty if it is ready. */
  readonly unready: () => readonly string[] | Promise<readonly string[]>;
}

/**
 * Serves /stats, /metrics, /healthz and /readyz. Figures are not served to web pages of other origins. Rejects with an error that
 * says what to do if it cannot listen.
 */
export async function serveAdmin(address: ListenAddress, options: AdminOptions): Promise<Server> {
  const isLocal = address.kind === "tcp" && isLoopback(address.host);
  const server = createServer(adminServerOptions, ({ url = "", headers }, response) => {
    const path = url.split("?")[0];
    answerTo(findForeignCaller(headers, isLocal), path, options)
      .then(({ status, type, body }) => response.writeHead(status, { "content-type": type }).end(body))
      .catch(() => response.destroy());
  });
  const most = adminConnectionLimit();
  limitConnections(server, most);
  if (address.kind === "unix") await removeStaleSocket(address.path, "agent.admin");
  const listening = once(server, "listening");
  // No more wait to be accepted than can be connected: see `limitConnections`.
  const backlog = most - 1;
  if (address.kind === "unix") server.listen({ path: address.path, backlog });
  else server.listen({ port: address.port, host: address.host, backlog });
  try {
    await listening;
  } catch (error) {
    const place = address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
    throw new Error(`agent.admin: cannot listen on ${place}: ${(error as Error).message}; choose another agent.admin`);
  }
  // Open connections of scrapers must not keep a stopping agent alive.
  server.unref();
  return server;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const text = "text/plain";

// Load balancers and service managers call these by any name, and they say nothing about the traffic. Only the reasons why the
// agent is not ready, with names and addresses, are not for web pages.
const healthPaths: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

/** Why a call that a web page may have sent is refused; undefined for all other calls. */
function findForeignCaller({ host = "", origin }: IncomingHttpHeaders, isLocal: boolean): string | undefined {
  if (isForeignPage(origin, host)) return `web pages of ${origin} are not allowed to read these figures`;
  if (!isLocal || namesThisMachine(host)) return undefined;
  return `agent.admin is a loopback address, so it can only be called as localhost, not as ${host}`;
}

/** @param foreign see `findForeignCaller` */
async function answerTo(foreign: string | undefined, path: string, options: AdminOptions): Promise<Answer> {
  if (foreign !== undefined && !healthPaths.has(path)) return { status: 403, type: text, body: `${foreign}\n` };
  const failed = (error: Error): Answer => ({ status: 503, type: text, body: `${error.message}\n` });
  const given = await answer(path, options).catch(failed);
  return foreign === undefined || given.status === 200 ? given : { ...given, body: "not ready\n" };
}

async function answer(path: string, { stats, metrics, unready }: AdminOptions): Promise<Answer> {
  switch (path) {
    case "/stats":
      return { status: 200, type: "application/json", body: `${JSON.stringify(await stats())}\n` };
    case "/healthz":
      return { status: 200, type: text, body: "ok\n" };
    case "/readyz": {
      const reasons = await unready();
      if (reasons.length === 0) return { status: 200, type: text, body: "ready\n" };
      return { status: 503, type: text, body: reasons.map((reason) => `${reason}\n`).join("") };
    }
    case "/metrics": {
      const body = "clusterMetrics" in metrics ? await metrics.clusterMetrics() : await metrics.metrics();
      return { status: 200, type: metrics.contentType, body };
    }
    default:
      return { status: 404, type: text, body: "not found: the agent answers /stats, /metrics, /healthz and /readyz\n" };
  }
}
