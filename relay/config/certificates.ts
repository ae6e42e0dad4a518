import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ListenerTls } from "./config.ts";
import { ConfigError } from "./text.ts";

/** The listener's certificates as they are on disk now, with the fields for the log. */
export interface Certificates {
  readonly pem: { readonly cert: string; readonly key: string; readonly ca?: string };
  readonly subject: string;
  readonly validTo: string;
  readonly expired: boolean;
}

/** A certificate or a key that cannot be used; `key` is its name under `agent.tls`. */
export class CertificateError extends ConfigError {
  readonly key: keyof ListenerTls;
  readonly mistake: string;

  constructor(key: keyof ListenerTls, mistake: string) {
    super([`agent.tls.${key}: ${mistake}`]);
    this.name = "CertificateError";
    this.key = key;
    this.mistake = mistake;
  }
}

/**
 * Reads and checks the files of a listener. Throws `CertificateError`, which names the key and the file.
 *
 * @param nameOf the name of a file in messages, by its key; by default its path
 */
export function readCertificates(
  tls: ListenerTls,
  nowMs: number,
  nameOf: (key: keyof ListenerTls) => string = (key) => `${tls[key]}`,
): Certificates {
  const read = (key: keyof ListenerTls) => {
    try {
      return readFileSync(`${tls[key]}`, "utf8");
    } catch (error) {
      throw new CertificateError(key, `${nameOf(key)} cannot be read: ${explainRead(error)}`);
    }
  };
  const parse = <T>(key: keyof ListenerTls, content: string, parsePem: () => T): T => {
    try {
      return parsePem();
    } catch {
      throw new CertificateError(key, `${nameOf(key)} contains no ${content} in PEM format`);
    }
  };
  const pem = { cert: read("cert"), key: read("key"), ...(tls.clientCa !== undefined && { ca: read("clientCa") }) };
  const certificate = parse("cert", "certificate", () => new X509Certificate(pem.cert));
  const privateKey = parse("key", "private key without a passphrase", () => createPrivateKey(pem.key));
  if (pem.ca !== undefined) parse("clientCa", "certificate", () => new X509Certificate(`${pem.ca}`));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError("key", `${nameOf("key")} is not the key of the certificate in ${nameOf("cert")}`);
  }
  const { subject, validTo } = certificate;
  return { pem, subject: subject ?? "", validTo, expired: Date.parse(validTo) < nowMs };
}

/** Why a target's certificate authority cannot be used; undefined if it can. `name` is its name in messages. */
export function findAuthorityMistake(file: string, name: string): string | undefined {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    return `${name} cannot be read: ${explainRead(error)}`;
  }
  // Node ignores text that is not a certificate, and would then trust no server.
  const certificates = pem.match(/-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?-----END \1-----/gs);
  if (!certificates) return `${name} is not a PEM file with a certificate`;
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch {
    return `${name} has a certificate that cannot be decoded`;
  }
  return undefined;
}

/** Why a file cannot be read, without its path: the message has it as it is in the configuration. */
export function explainRead(error: unknown): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return reasons[code] ?? (code || message);
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user is not allowed to read it",
  EPERM: "this user is not allowed to read it",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of its path is not a directory",
};
