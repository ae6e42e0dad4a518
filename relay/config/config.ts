import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { ArchivePlace } from "../archive/archive-place.ts";
import type { IngressPlace } from "../queue/ingress.ts";
import type { RequestKey } from "../rules/request-key.ts";
import type { Sample } from "../rules/sample.ts";
import type { When } from "../rules/when.ts";
import type { AddressRange } from "./address-range.ts";
import type { Deployment, VpcPlace } from "./deployment.ts";
import type { ListenAddress } from "./forms.ts";
import { toConfig } from "./load.ts";
import { configSchema, type ParsedConfig } from "./schema.ts";
import { ConfigError, findLine, parseConfigText } from "./text.ts";
import type { Times } from "./time-windows.ts";

/** PEM files, as absolute paths. */
export interface ListenerTls {
  readonly cert: string;
  readonly key: string;
  /** Peers must show a certificate of this authority. */
  readonly clientCa?: string;
}

/** Permissions and owner of the file of a unix socket; names or numbers. */
export interface SocketFile {
  readonly mode?: number;
  readonly owner?: string | number;
  readonly group?: string | number;
}

export interface AgentConfig {
  readonly listen: ListenAddress;
  readonly tls?: ListenerTls;
  /** The peers that may connect; everybody where it is undefined. */
  readonly allow?: readonly AddressRange[];
  readonly socket?: SocketFile;
  readonly admin: ListenAddress;
  readonly name: string;
  readonly workers: number;
  readonly sample: Sample;
  readonly when?: When;
  readonly redactHeaders: readonly string[];
  readonly maxFrameBytes: number;
  readonly pack: { readonly bytes: number; readonly requests: number; readonly lingerMs: number };
  readonly bufferBytes: number;
  readonly journal?: {
    readonly directory: string;
    readonly maxBytes: number;
    readonly whenFull: "drop-oldest" | "drop-newest";
  };
  readonly drainMs: number;
}

interface HostConfig {
  readonly admin: ListenAddress;
  /** What callers of the control API have to show. */
  readonly token?: string;
  readonly visibilityMs: number;
  readonly inFlight: number;
}

/** Where the token of a target comes from, and where it goes. */
export interface TokenConfig {
  readonly source: TokenSource;
  /** Where the token stands in JSON. */
  readonly field: string;
  /** How long a token holds that does not say so. */
  readonly expiresMs: number;
  /** In lower case; what was captured of it is removed. */
  readonly header: string;
  /** What the header says, with `{token}` where the token goes. */
  readonly format: string;
}

export type TokenSource =
  /** Program and arguments. */
  | { readonly kind: "command"; readonly command: readonly string[] }
  | {
      readonly kind: "url";
      readonly url: URL;
      readonly headers: Readonly<Record<string, string>>;
      /** Nothing is posted where it is undefined. */
      readonly body?: { readonly type: "form" | "json"; readonly fields: Readonly<Record<string, string>> };
    };

/** What requests are signed for. */
export interface SignConfig {
  readonly service: string;
  readonly region: string;
  readonly profile?: string;
}

type PathRewrite = { readonly prefix: string } | { readonly match: RegExp; readonly replace: string };

export interface TargetConfig {
  readonly name: string;
  readonly url: URL;
  /** Infinity where the rate is unlimited. */
  readonly ratePerSecond: number;
  readonly sample: Sample;
  readonly when?: When;
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly attempts: number;
  readonly maxAgeMs?: number;
  /** `target`, `original`, or the host to send. */
  readonly host: string;
  readonly path?: PathRewrite;
  readonly headers: { readonly set: Readonly<Record<string, string>>; readonly remove: readonly string[] };
  readonly token?: TokenConfig;
  readonly sign?: SignConfig;
  readonly truncated: "skip" | "send";
  readonly tls: { readonly ca?: string; readonly verify: boolean; readonly serverName?: string };
  /** Requests are sent within these times only; always where there are none. */
  readonly windows: readonly Times[];
  /** No requests are sent within these. */
  readonly blackouts: readonly Times[];
  /** The requests of one key are sent one after the other. */
  readonly orderBy?: RequestKey;
  /** So many failures one after the other open it; the first probe is sent after `probeAfterMs`. */
  readonly breaker: { readonly failures: number; readonly probeAfterMs: number };
  /** For the deployment to AWS. */
  readonly vpc?: VpcPlace;
  /** ARNs of managed policies for the role that its requests are sent and signed with, in a deployment to AWS. */
  readonly policies?: readonly string[];
}

/** Requests that are kept, see relay/capture. */
export interface CaptureConfig {
  readonly name: string;
  readonly store: ArchivePlace;
  readonly sample: Sample;
  readonly when?: When;
  /** Requests captured longer ago go; in S3 only a lifecycle rule of the bucket sees to it. */
  readonly keepMs: number;
}

/** Where the distributed engine keeps what its workers share. */
export interface AwsPlaces {
  /** Name or ARN. */
  readonly table: string;
  readonly tableRegion: string;
  /** Known where the table is named by its ARN. */
  readonly tableAccount?: string;
  /** URLs by the name of the target. A target that is not here reads the ingress queue itself. */
  readonly targetQueues: ReadonlyMap<string, string>;
}

export interface Config {
  /** The file it came from, for messages and for child processes. */
  readonly file: string;
  readonly agent: AgentConfig;
  readonly host: HostConfig;
  /** Where agents put packs, and the host takes them from. */
  readonly ingress: IngressPlace;
  /** Directory of the embedded queues and of the state, on the machine of the host. Nothing is there with `aws`. */
  readonly queueDirectory: string;
  /** Set where state and target queues are in AWS. */
  readonly aws?: AwsPlaces;
  /** Where the command line finds the control API; at `host.admin` where it is undefined. */
  readonly control?: URL;
  readonly targets: readonly TargetConfig[];
  readonly captures: readonly CaptureConfig[];
  readonly log: ParsedConfig["log"];
  readonly deployment: Deployment;
  /** What is allowed but probably not meant; to be logged at start. */
  readonly warnings: readonly string[];
  /** Environment variables that a replay needs and this process does not have, or not in a form that can be sent. */
  readonly missing: readonly MissingVariable[];
  /** All environment variables that a replay needs, by where they are named. */
  readonly variables: readonly { readonly path: readonly string[]; readonly name: string }[];
}

/** A place in the file that names an environment variable, and what is wrong with that. */
interface MissingVariable {
  readonly path: readonly string[];
  readonly mistake: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads and checks a configuration file. Throws `ConfigError`, also where the file cannot be read. */
export function loadConfig(file: string, env: Environment): Config {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const advice =
      code === "ENOENT" ? "; write one (relay/README.md, Configuration), or name it with --config FILE" : "";
    throw new ConfigError([`${file}: cannot be read: ${message}${advice}`]);
  }
  return toConfig(parseConfigText(text, file, env, configSchema), file, env);
}

/**
 * Throws `ConfigError` where the certificate authority of a target cannot be used, or an environment variable is missing
 * that its requests need. Only the host needs them: an agent on another machine may share the file and not have them.
 *
 * @param only the one target that the process replays for; all of them where it is undefined
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

/** The JSON Schema of the file, for editors. */
export function configJsonSchema(): unknown {
  return z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" });
}

function findAuthorityMistake(file: string): string | undefined {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    return `cannot be read: ${(error as Error).message}`;
  }
  // TLS passes over what it does not understand, and then trusts nobody.
  const certificates = pem.match(/-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?-----END \1-----/gs);
  if (!certificates) return `${file} is no PEM file with a certificate`;
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
  } catch {
    return `${file} has a certificate that cannot be read`;
  }
  return undefined;
}
