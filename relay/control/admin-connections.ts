import type { IncomingMessage, Server, ServerOptions, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Times for a server of an admin address, in milliseconds. Callers are on this machine or near it. */
export const adminServerOptions: ServerOptions = {
  /** For the head of a request, from the opening of its connection or from its first byte. */
  headersTimeout: 5_000,
  /** For a whole request. */
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  /** How often Node looks for late requests. */
  connectionsCheckingInterval: 1_000,
};

// As many as Node lets wait to be accepted, and one more: whoever connects cannot lose its place before its request is read,
// unless 512 others connect meanwhile. A server with another limit needs a backlog to match.
const mostConnections = 512;
// Longer than the longest answer, a redrive, takes to begin.
const silentMs = 60_000;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * Closes connections without traffic, and keeps at most `most` connections. One more replaces the connection that has waited
 * for its client for the longest time: for the rest of a request, for the next one, or for the client to read the answer. So
 * clients that hold connections open cannot keep others out. If this server is busy with the requests of all connections, the
 * new one is closed.
 */
export function limitConnections(server: Server, most = mostConnections): void {
  server.setTimeout(silentMs);
  // In the order of their last request, or of their opening.
  const connections = new Map<Socket, Exchange | undefined>();
  server.on("connection", (socket: Socket) => {
    socket.once("close", () => connections.delete(socket));
    if (connections.size >= most) {
      const [waiting] = [...connections].find(([, exchange]) => waitsForClient(exchange)) ?? [socket];
      connections.delete(waiting);
      waiting.destroy();
      if (waiting === socket) return;
    }
    connections.set(socket, undefined);
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    if (!connections.delete(socket)) return;
    connections.set(socket, { request, response });
  });
}

function waitsForClient(exchange: Exchange | undefined): boolean {
  return exchange === undefined || !exchange.request.complete || exchange.response.writableEnded;
}
