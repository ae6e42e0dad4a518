import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ListenerTls } from "../../relay/config/config.ts";
import { ConfigError } from "../../relay/config/text.ts";

/** The certificates of the listener as they are on disk now, and what the log says of them. */
export interface Certificates {
  readonly pem: { readonly cert: string; readonly key: string; readonly ca?: string };
  readonly subject: string;
  readonly validTo: string;
  readonly expired: boolean;
}

/** Reads and checks the files. Throws `ConfigError` that names key and file. */
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

function read(name: keyof ListenerTls, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError([`agent.tls.${name}: cannot be read: ${(error as Error).message}`]);
  }
}

function parse<T>(name: keyof ListenerTls, file: string, what: string, parsePem: () => T): T {
  try {
    return parsePem();
  } catch {
    throw new ConfigError([`agent.tls.${name}: ${file} holds no ${what} in PEM`]);
  }
}
