import { resolve } from "node:path";
import type { SetHeader, SignConfig, TargetConfig, TokenConfig, TokenSource } from "./config.ts";
import type { ParsedConfig } from "./schema.ts";
import type { Secrets } from "./secrets.ts";
import { toRequestKey, toSample, toWhen } from "./to-rules.ts";

type ParsedTarget = ParsedConfig["targets"][string];

/** @param directory directory that paths in the file are relative to */
export function toTarget(
  name: string,
  target: ParsedTarget,
  directory: string,
  secrets: Secrets,
): Omit<TargetConfig, "loopGuard"> {
  const { ca, serverName } = target.tls;
  const path = ["targets", name];
  return {
    name,
    url: target.url,
    protocol: target.protocol,
    ratePerSecond: target.rate,
    sample: toSample(target.sample, target.stickyBy),
    ...(target.when && { when: toWhen(target.when) }),
    concurrency: target.concurrency,
    timeoutMs: target.timeout,
    attempts: target.attempts,
    ...(target.maxAge !== undefined && { maxAgeMs: target.maxAge }),
    host: target.host,
    ...(target.path && { path: target.path }),
    headers: {
      set: toSetHeaders([...path, "headers", "set"], target.headers.set, secrets),
      // Otherwise the captured header would be sent together with the new one.
      remove: target.token ? [...target.headers.remove, target.token.header] : target.headers.remove,
    },
    ...(target.token && { token: toToken([...path, "token"], target.token, secrets) }),
    ...(target.sign && { sign: toSign(target.sign, target.region) }),
    ...((target.token || target.sign) && { credentialsFor: target.credentials?.for ?? "captured" }),
    truncated: target.truncated,
    tls: {
      verify: target.tls.verify,
      ...(ca !== undefined && { ca: resolve(directory, ca) }),
      ...(serverName !== undefined && { serverName }),
    },
    windows: target.window ?? [],
    blackouts: target.blackout ?? [],
    ...(target.key && { orderBy: toRequestKey(target.key) }),
    breaker: { failures: target.breaker.failures, probeAfterMs: target.breaker.probeAfter },
    ...(target.vpc && { vpc: target.vpc }),
    ...(target.policies && { policies: target.policies }),
  };
}

function toSetHeaders(
  path: readonly string[],
  written: ParsedTarget["headers"]["set"],
  secrets: Secrets,
): Record<string, SetHeader> {
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) =>
      typeof value === "object" && "src" in value
        ? [name, value]
        : [name, secrets.toHeaders(path, { [name]: value })[name]],
    ),
  );
}

function toToken(path: readonly string[], token: NonNullable<ParsedTarget["token"]>, secrets: Secrets): TokenConfig {
  const { field, expires, header, format } = token;
  return { source: toTokenSource(path, token, secrets), field, expiresMs: expires, header, format };
}

function toTokenSource(
  path: readonly string[],
  token: NonNullable<ParsedTarget["token"]>,
  secrets: Secrets,
): TokenSource {
  const { command, url, form, json, headers } = token;
  if (url === undefined) return { kind: "command", command: command ?? [] };
  const type = form ? "form" : "json";
  const fields = form ?? json;
  return {
    kind: "url",
    url,
    headers: secrets.toHeaders([...path, "headers"], headers),
    ...(fields && { body: { type, fields: secrets.toTexts([...path, type], fields) } }),
  };
}

function toSign({ service, region, profile }: NonNullable<ParsedTarget["sign"]>, targetRegion = ""): SignConfig {
  return { service, region: region ?? targetRegion, ...(profile !== undefined && { profile }) };
}
