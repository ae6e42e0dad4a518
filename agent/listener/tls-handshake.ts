/** Says why a TLS handshake failed and what to change; undefined if the peer only closed the connection. */
export function handshakeMistake(error: NodeJS.ErrnoException, authorizationError: unknown): string | undefined {
  const { code = "", message } = error;
  if (authorizationError) {
    return `the peer's certificate is not accepted (${authorizationError}): an authority in agent.tls.clientCa must sign it for client authentication`;
  }
  if (code === "ECONNRESET" || code === "EPIPE") return undefined;
  if (code.includes("_ALERT_")) {
    return `the peer does not accept the agent's certificate (${code}): check ca-file in the server line of HAProxy`;
  }
  // The code and not the message: OpenSSL puts memory addresses into it, so the same mistake would be a new reason every time.
  return handshakeAdvice[code] ?? (code || message);
}

const handshakeAdvice: Readonly<Record<string, string>> = {
  // A SPOP frame, read as a TLS record.
  ERR_SSL_WRONG_VERSION_NUMBER:
    "the peer connects without TLS, but agent.tls is set: add ssl verify required ca-file FILE to the server line in HAProxy",
  ERR_SSL_HTTP_REQUEST: "this is an HTTP request: only HAProxy's filter spoe may connect to this port",
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    "the peer sent no certificate, but agent.tls.clientCa requires one: add crt FILE to the server line in HAProxy",
  ERR_TLS_HANDSHAKE_TIMEOUT: "the peer did not finish the TLS handshake in time",
};
