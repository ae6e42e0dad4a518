import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { IngressPlace } from "../queue/ingress.ts";
import { deadLetterUrl } from "../queue/names.ts";
import { inRegion, isPrivate, regionOf } from "../queue/sqs-url.ts";
import { defaultJournal } from "./agent-schema.ts";
import type {
  AgentConfig,
  AwsPlaces,
  CaptureConfig,
  Config,
  Environment,
  ListenerTls,
  RedactConfig,
  SocketFile,
} from "./config.ts";
import { findClearControl, findEqualAddresses } from "./conflicts.ts";
import type { Deployment } from "./deployment.ts";
import { isLoopback } from "./forms.ts";
import type { ParsedConfig } from "./schema.ts";
import { Secrets } from "./secrets.ts";
import { ConfigError } from "./text.ts";
import { toSample, toWhen } from "./to-rules.ts";
import { toTarget } from "./to-target.ts";

/**
 * Converts the parsed file. Throws `ConfigError` if two targets would share a queue, or if a queue's name is too long.
 */
export function toConfig(parsed: ParsedConfig, file: string, env: Environment): Config {
  const directory = dirname(resolve(file));
  const secrets = new Secrets(env);
  const loopGuard = { header: parsed.loopHeader, keys: toLoopKeys(parsed.loopKey, secrets) };
  const targets = Object.entries(parsed.targets).map(([name, target]) => ({
    ...toTarget(name, target, directory, secrets),
    loopGuard,
  }));
  const warnings = targets
    .filter((target) => target.sample.fraction === 0)
    .map((target) => `targets.${target.name}.sample is 0%: this target receives no requests`);
  const captures = Object.entries(parsed.captures).map(([name, capture]) =>
    toCapture(name, capture, directory, parsed.queue.kind === "sqs" ? regionOf(parsed.queue.url) : undefined, env),
  );
  for (const { name, sample } of captures) {
    if (sample.fraction === 0) warnings.push(`captures.${name}.sample is 0%: this capture keeps no requests`);
  }
  if (parsed.agent.sample === 0) warnings.push("agent.sample is 0%: no requests are mirrored");
  if (parsed.queue.kind === "sqs" && !isPrivate(parsed.queue.url)) {
    warnings.push(
      `queue is ${parsed.queue.url.href}: over http, anyone on the network path can read the requests; use https`,
    );
  }
  const { listen, tls, allow } = parsed.agent;
  if (!tls && !allow && listen.kind === "tcp" && !isLoopback(listen.host)) {
    warnings.push(
      `agent.listen is ${listen.host}:${listen.port}, without TLS or a list of peers: any host that reaches it can inject requests; set agent.allow, or agent.tls with clientCa`,
    );
  }
  const { admin } = parsed.agent;
  if (admin.kind === "tcp" && !isLoopback(admin.host)) {
    warnings.push(
      `agent.admin is ${admin.host}:${admin.port}: any host that reaches it can read the figures and keep the agent busy; let only your monitoring reach it`,
    );
  }
  const { admin: hostAdmin } = parsed.host;
  if (hostAdmin.kind === "tcp" && !isLoopback(hostAdmin.host)) {
    warnings.push(
      `host.admin is ${hostAdmin.host}:${hostAdmin.port}, which serves HTTP without TLS: anyone on the network path can read the token; listen on 127.0.0.1 behind a proxy with TLS, or keep it in a network that you trust`,
    );
  }
  for (const { path, mistake } of findClearControl(parsed)) {
    warnings.push(`${path.join(".")}: ${mistake}; until then, commands refuse to call it`);
  }
  const { queue } = parsed;
  const queueDirectory = resolve(
    directory,
    queue.kind === "embedded" ? queue.directory : (parsed.host.data ?? "./data"),
  );
  // Equal shares: one target that is away cannot take the place of the others.
  const queueShareBytes = Math.floor(queue.maxBytes / (targets.length + 1));
  const ingress: IngressPlace =
    queue.kind === "embedded"
      ? { kind: "embedded", directory: queueDirectory, maxBytes: queueShareBytes }
      : { kind: "sqs", url: queue.url.href };
  if (queue.kind === "sqs") {
    const { agent, host, control } = parsed;
    for (const { path, mistake } of findEqualAddresses({ agent, host, ...(control && { control }) }).onOneMachine)
      warnings.push(`${path.join(".")} ${mistake}, if agent and host run on one machine`);
  }
  const agent = toAgent(parsed.agent, directory, queue.kind === "sqs", env);
  return Object.freeze({
    file,
    agent,
    host: {
      admin: parsed.host.admin,
      ...toToken(parsed.host, directory, queueDirectory),
      visibilityMs: parsed.host.visibility,
      inFlight: parsed.host.inFlight,
      bufferBytes: parsed.host.buffer,
    },
    loopGuard,
    ingress,
    queueDirectory,
    queueShareBytes,
    ...(parsed.state && queue.kind === "sqs" && { aws: toAwsPlaces(parsed, queue.url, file) }),
    ...(parsed.control && { control: parsed.control }),
    targets,
    captures,
    log: parsed.log,
    deployment: toDeployment(parsed.aws),
    warnings,
    missing: secrets.missing,
    variables: secrets.variables,
  });
}

function toLoopKeys(keys: ParsedConfig["loopKey"] = [], secrets: Secrets): readonly string[] {
  const named = Object.fromEntries(keys.map((key, i) => [keys.length > 1 ? `${i}` : "loopKey", key]));
  const isStrong = (key: string) => (/^[!-~]{16,}$/.test(key) ? undefined : "is not at least 16 printable characters");
  return Object.values(secrets.toTexts(keys.length > 1 ? ["loopKey"] : [], named, isStrong));
}

function toToken({ admin, token, tokenFile }: ParsedConfig["host"], directory: string, dataDirectory: string) {
  if (token !== undefined) return { token };
  if (admin.kind === "unix") return {};
  return { tokenFile: tokenFile === undefined ? join(dataDirectory, "control-token") : resolve(directory, tokenFile) };
}

function toAwsPlaces({ state, targets, captures }: ParsedConfig, ingress: URL, file: string): AwsPlaces {
  const entries = Object.entries(targets);
  // A single target that receives every request needs no fan-out and no queue of its own, which would double the cost of SQS.
  // Captures need the fan-out, which writes them.
  const captured = Object.keys(captures).length > 0;
  const direct = entries.length === 1 && !captured && takesAllHere(entries[0][1], regionOf(ingress));
  const queueOf = (name: string, region = regionOf(ingress)) => `${inRegion(ingress, region).href}-${name}`;
  const targetQueues = direct
    ? new Map<string, string>()
    : new Map(entries.map(([name, { queue, region }]) => [name, queue?.href ?? queueOf(name, region)]));
  assertOwnQueues(targetQueues, ingress, file);
  return {
    table: state?.table ?? "",
    tableRegion: state?.region ?? regionOf(ingress),
    ...(state?.account !== undefined && { tableAccount: state.account }),
    ingressQueue: ingress.href,
    targetQueues,
  };
}

function takesAllHere(
  { sample, when, queue, region }: ParsedConfig["targets"][string],
  ingressRegion: string,
): boolean {
  return sample === 1 && !when && queue === undefined && (region ?? ingressRegion) === ingressRegion;
}

/** Throws if two targets share a queue, or if one reads the dead letters of another: each would receive the other's packs. */
function assertOwnQueues(targetQueues: ReadonlyMap<string, string>, ingress: URL, file: string): void {
  const owners = new Map([
    [ingress.href, "the ingress queue"],
    [deadLetterUrl(ingress.href), "the dead letters of the ingress queue"],
  ]);
  const mistakes: string[] = [];
  for (const [name, url] of targetQueues) {
    for (const [used, owner] of [
      [url, `targets.${name}`],
      [deadLetterUrl(url), `the dead letters of targets.${name}`],
    ]) {
      const other = owners.get(used);
      const longName = (used.split("/").at(-1) ?? "").length > 80;
      if (other !== undefined)
        mistakes.push(`${file}: targets.${name}.queue: ${used} is already used for ${other}; set another queue`);
      else if (longName)
        mistakes.push(
          `${file}: targets.${name}.queue: the name of ${used} has more than the 80 characters that SQS allows`,
        );
      owners.set(used, owner);
    }
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);
}

function toAgent(
  agent: ParsedConfig["agent"],
  directory: string,
  journalByDefault: boolean,
  env: Environment,
): AgentConfig {
  const journal = agent.journal ?? (journalByDefault ? defaultJournal : undefined);
  const { tls, allow, socket } = agent;
  return {
    listen: agent.listen,
    ...(tls && { tls: toListenerTls(tls, directory) }),
    ...(allow && { allow }),
    ...(socket && { socket: toSocketFile(socket) }),
    admin: agent.admin,
    name: agent.name ?? hostname().slice(0, 64),
    workers: agent.workers,
    sample: toSample(agent.sample, agent.stickyBy),
    ...(agent.when && { when: toWhen(agent.when) }),
    redact: toRedact(agent.redact, env),
    maxFrameBytes: agent.maxFrame,
    connectionBufferBytes: agent.connectionBuffer,
    pack: { bytes: agent.pack.bytes, requests: agent.pack.requests, lingerMs: agent.pack.linger },
    bufferBytes: agent.buffer,
    ...(journal && { journal: { ...journal, directory: resolve(directory, journal.directory) } }),
    drainMs: agent.drain,
  };
}

function toRedact({ key, dropBodies, ...names }: ParsedConfig["agent"]["redact"], env: Environment): RedactConfig {
  return {
    ...names,
    dropBodies: dropBodies.map(({ path, type }) => ({
      ...(path !== undefined && { path }),
      ...(type !== undefined && { type }),
    })),
    ...(key && { key: { env: key.env, value: env[key.env] } }),
  };
}

function toListenerTls(tls: NonNullable<ParsedConfig["agent"]["tls"]>, directory: string): ListenerTls {
  const { cert, key, clientCa } = tls;
  return {
    cert: resolve(directory, cert),
    key: resolve(directory, key),
    ...(clientCa !== undefined && { clientCa: resolve(directory, clientCa) }),
  };
}

function toSocketFile({ mode, owner, group }: NonNullable<ParsedConfig["agent"]["socket"]>): SocketFile {
  return {
    ...(mode !== undefined && { mode }),
    ...(owner !== undefined && { owner }),
    ...(group !== undefined && { group }),
  };
}

function toCapture(
  name: string,
  { store, region, sample, stickyBy, when, keep }: ParsedConfig["captures"][string],
  directory: string,
  queueRegion: string | undefined,
  { AWS_ENDPOINT_URL_S3: endpoint }: Environment,
): CaptureConfig {
  return {
    name,
    store:
      store.kind === "directory"
        ? { kind: "directory", directory: resolve(directory, store.directory) }
        : { ...store, region: region ?? queueRegion, ...(endpoint && { endpoint }) },
    sample: toSample(sample, stickyBy),
    ...(when && { when: toWhen(when) }),
    keepMs: keep,
  };
}

function toDeployment({ tags, key, agents, alarms, logs, keepData, secrets }: ParsedConfig["aws"]): Deployment {
  const { email, dailyCost, silentAfter } = alarms;
  return {
    tags,
    ...(key !== undefined && { key }),
    agents,
    alarms: {
      ...(email !== undefined && { email }),
      ...(dailyCost !== undefined && { dailyCostUsd: dailyCost }),
      silentAfterMs: silentAfter,
    },
    logDays: logs,
    keepData,
    secrets,
  };
}
