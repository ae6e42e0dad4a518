import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ListenerTls } from "../../relay/config/config.ts";
import { ConfigError } from "../../relay/config/text.ts";

/** The listener's certificates as they are on disk now, with the fields for the log. */
export interface Certificates {
  readonly pem: { readonly cert: string; readonly key: string; readonly ca?: string };
  readonly subject: string;
  readonly validTo: string;
  readonly expired: boolean;
}

/** Reads and checks the files. Throws a `ConfigError` that names the key and the file. */
export function readCertificates({ cert, key, clientCa }: ListenerTls, nowMs: number): Certificates {
  const pem = {
    cert: read("cert", cert),
    key: read("key", key),
    ...(clientCa !== undefined && { ca: read("clientCa", clientCa) }),
  };
  const certificate = parse("cert", cert, "certificate", () => new X509Certificate(pem.cert));
  const privateKey = parse("key", key, "private key without a passphrase", () => createPrivateKey(pem.key));
  if (pem.ca !== undefined) parse("clientCa", `${clientCa}`, "certificate", () => new X509Certificate(`${pem.ca}`));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new ConfigError([`agent.tls.key: ${key} is not the key of the certificate in ${cert}`]);
  }
  const { subject, validTo } = certificate;
  return { pem, subject: subject ?? "", validTo, expired: Date.parse(validTo) < nowMs };
}

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

function read(name: keyof ListenerTls, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError([`agent.tls.${name}: cannot be read: ${(error as Error).message}`]);
  }
}

function parse<T>(name: keyof ListenerTls, file: string, content: string, parsePem: () => T): T {
  try {
    return parsePem();
  } catch {
    throw new ConfigError([`agent.tls.${name}: ${file} contains no ${content} in PEM format`]);
  }
}
