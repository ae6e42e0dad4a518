const advice: Readonly<Record<string, string>> = {
  // The bytes of a SPOP frame, read as a TLS record.
  ERR_SSL_WRONG_VERSION_NUMBER:
    "the peer speaks without TLS, and agent.tls is set: add ssl verify required ca-file FILE to the server line in HAProxy",
  ERR_SSL_HTTP_REQUEST: "this is an HTTP request: only HAProxy's filter spoe may connect to this port",
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    "the peer shows no certificate, and agent.tls.clientCa asks for one: add crt FILE to the server line in HAProxy",
  ERR_TLS_HANDSHAKE_TIMEOUT: "the peer did not finish the TLS handshake in time",
};

/** Why a TLS handshake failed, in words that say what to change; undefined where the peer just went away. */
export function handshakeMistake(error: NodeJS.ErrnoException, authorizationError: unknown): string | undefined {
  const { code = "", message } = error;
  if (authorizationError) {
    return `the peer's certificate is not accepted (${authorizationError}): agent.tls.clientCa must have signed it, for client authentication`;
  }
  if (code === "ECONNRESET" || code === "EPIPE") return undefined;
  if (code.includes("_ALERT_")) {
    return `the peer does not accept the agent's certificate (${code}): check ca-file in the server line of HAProxy`;
  }
  // OpenSSL's messages hold addresses in memory, the same mistake reads differently every time.
  return advice[code] ?? (code || message);
}
