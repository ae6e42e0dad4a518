import type { CapturedRequest } from "../pack/captured-request.ts";

/** Why a request cannot be replayed: it is no exchange of one request and one answer, or it asks nothing of the shadow. */
export type Unreplayable = "upgrade" | "CONNECT" | "OPTIONS *";

/** Undefined if the request can be replayed. A path of `*`, and an empty one, is that of `OPTIONS *`. */
export function whyUnreplayable({
  method,
  path,
  headers,
}: Pick<CapturedRequest, "method" | "path" | "headers">): Unreplayable | undefined {
  if (method === "CONNECT") return "CONNECT";
  if (method === "OPTIONS" && (path === "*" || path === "")) return "OPTIONS *";
  return isUpgrade(headers) ? "upgrade" : undefined;
}

// RFC 9110 7.8: Upgrade counts only if Connection names it. HAProxy turns an extended CONNECT of HTTP/2 into such a request.
function isUpgrade(headers: readonly string[]): boolean {
  let upgrades = false;
  let named = false;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const { length } = headers[i];
    if (length === "upgrade".length && headers[i].toLowerCase() === "upgrade") {
      upgrades ||= tokensOf(headers[i + 1]).some((protocol) => protocol !== "" && !stillHttp.test(protocol));
    } else if (length === "connection".length && headers[i].toLowerCase() === "connection") {
      named ||= tokensOf(headers[i + 1]).includes("upgrade");
    }
  }
  return upgrades && named;
}

// Clients offer these with ordinary requests, and take an answer without the upgrade: `curl --http2` and Java's HttpClient
// h2c, Apache's HttpClient 5.4 TLS/1.2 with each GET over plain HTTP (RFC 2817 3.1).
const stillHttp = /^(h2c?|(http|tls)\/[0-9.]+)$/;

function tokensOf(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map((token) => token.trim());
}
