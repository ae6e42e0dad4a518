/** Whether a header (by lower-case name) is not passed on as it was captured, because it is written anew or left out. */
export function isReservedHeader(name: string): boolean {
  return connectionHeaders.has(name) || name.startsWith("x-mirror-");
}

// RFC 9110 7.6.1, and what belongs to the connection between client and HAProxy alone. The transport writes Content-Length
// and Host anew; Expect would make it wait for an answer that HAProxy has already given.
const connectionHeaders: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "expect",
  "content-length",
  "host",
]);
