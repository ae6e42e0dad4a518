import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";

/**
 * The reason why a request cannot be sent to another server; undefined if it can. Imports and exports leave such requests
 * out and count them by this reason.
 */
export function findObstacle({
  method,
  path,
  headers,
  primary,
}: Pick<CapturedRequest, "method" | "path" | "headers" | "primary">): string | undefined {
  if (method === "CONNECT") return "CONNECT, which opens a tunnel";
  if (path === "*") return "a request for the server itself (*), not for a path";
  if (!path.startsWith("/")) return "the path does not begin with /";
  return primary?.status === 101 || asksForUpgrade(headers) ? upgradeReason : undefined;
}

export const upgradeReason = "a WebSocket or another upgrade";

/**
 * Whether the request changes the protocol of its connection. Clients also offer h2c and TLS with ordinary requests, and
 * servers answer those (RFC 9110 7.8).
 */
function asksForUpgrade(headers: readonly string[]): boolean {
  const protocols = headerOf(headers, "upgrade")?.split(",") ?? [];
  return protocols.some((protocol) => !/^\s*(?:h2c|TLS\/.*)?\s*$/i.test(protocol));
}
