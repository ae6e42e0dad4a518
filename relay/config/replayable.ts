import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Config } from "./config.ts";
import { ConfigError, findLine } from "./text.ts";

/**
 * Throws `ConfigError` if the certificate authority of a target cannot be used, or if an environment variable that its
 * requests need is missing. Only processes that replay call this: an agent on another machine may share the file without
 * having either.
 *
 * @param only the one target that the process replays for; undefined for all targets
 */
export function assertReplayable({ file, targets, missing }: Config, only?: string): void {
  const authorities = targets.flatMap(({ name, tls: { ca } }) => {
    const mistake = ca === undefined ? undefined : findAuthorityMistake(ca);
    return mistake === undefined ? [] : [{ path: ["targets", name, "tls", "ca"], mistake }];
  });
  const mistakes = [...missing, ...authorities]
    .filter(({ path: [, name] }) => only === undefined || name === only)
    .map(({ path, mistake }) => `${file}:${findLine(readFileSync(file, "utf8"), path)}: ${path.join(".")}: ${mistake}`);
  if (mistakes.length > 0) throw new ConfigError(mistakes);
}

function findAuthorityMistake(file: string): string | undefined {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
  // Node ignores text that is not a certificate, and would then trust no server.
  const certificates = pem.match(/-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?-----END \1-----/gs);
  if (!certificates) return `${file} is not a PEM file with a certificate`;
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch {
    return `${file} has a certificate that cannot be decoded`;
  }
  return undefined;
}
