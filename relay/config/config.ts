import type { ArchivePlace } from "../archive/archive-place.ts";
import type { IngressPlace } from "../queue/ingress.ts";
import type { DropRule } from "../redaction/drop-rules.ts";
import type { LoopGuard } from "../rules/loop-mark.ts";
import type { Rewrite } from "../rules/pattern.ts";
import type { RequestKey } from "../rules/request-key.ts";
import type { Sample } from "../rules/sample.ts";
import type { When } from "../rules/when.ts";
import type { AddressRange } from "./address-range.ts";
import type { Deployment, VpcPlace } from "./deployment.ts";
import type { ListenAddress } from "./forms.ts";
import type { Times } from "./time-windows.ts";

/** PEM files, as absolute paths. */
export interface ListenerTls {
  readonly cert: string;
  readonly key: string;
  /** If set, peers must show a certificate issued by this authority. */
  readonly clientCa?: string;
}

/** Permissions and owner of the file of a unix socket; owner and group are names or numeric ids. */
export interface SocketFile {
  readonly mode?: number;
  readonly owner?: string | number;
  readonly group?: string | number;
}

/** What the agent masks before it stores a request: patterns of names, in which `*` stands for any characters. */
export interface RedactConfig {
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
  readonly query: readonly string[];
  /** Fields of forms. */
  readonly form: readonly string[];
  /** The steps of each path, from `parseJsonPath`. */
  readonly json: readonly (readonly string[])[];
  readonly dropBodies: readonly DropRule[];
  /** With a key, equal values have equal masks. `value` is undefined if the variable is not set: the agent needs it, the host does not. */
  readonly key?: { readonly env: string; readonly value: string | undefined };
}

export interface AgentConfig {
  readonly listen: ListenAddress;
  readonly tls?: ListenerTls;
  /** The peers that may connect; all may if it is undefined. */
  readonly allow?: readonly AddressRange[];
  readonly socket?: SocketFile;
  readonly admin: ListenAddress;
  readonly name: string;
  readonly workers: number;
  readonly sample: Sample;
  readonly when?: When;
  readonly redact: RedactConfig;
  readonly maxFrameBytes: number;
  readonly connectionBufferBytes: number;
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
  /** Bearer token that callers of the control API must send. */
  readonly token?: string;
  /** Absolute path of the file that holds the token; undefined if the configuration has it, or if `admin` is a unix socket. */
  readonly tokenFile?: string;
  readonly visibilityMs: number;
  readonly inFlight: number;
  /** Bytes of decoded packs in flight, of all targets together. */
  readonly bufferBytes: number;
}

/** The source of a target's token, and the header that carries it. */
export interface TokenConfig {
  readonly source: TokenSource;
  /** Field of the JSON answer that holds the token. */
  readonly field: string;
  /** Lifetime to assume if the answer does not state one. */
  readonly expiresMs: number;
  /** In lower case. The captured header of this name is removed. */
  readonly header: string;
  /** Value of the header; `{token}` in it is replaced by the token. */
  readonly format: string;
}

export type TokenSource =
  /** Program and arguments. */
  | { readonly kind: "command"; readonly command: readonly string[] }
  | {
      readonly kind: "url";
      readonly url: URL;
      readonly headers: Readonly<Record<string, string>>;
      /** The call is a GET without a body if this is undefined. */
      readonly body?: { readonly type: "form" | "json"; readonly fields: Readonly<Record<string, string>> };
    };

/** The AWS service and region that requests are signed for. */
export interface SignConfig {
  readonly service: string;
  readonly region: string;
  readonly profile?: string;
}

type PathRewrite = { readonly prefix: string } | { readonly match: Rewrite; readonly replace: string };

/** The value of a header that a target sets: a text, or the client's address as it was captured. */
export type SetHeader = string | { readonly src: true };

export interface TargetConfig {
  readonly name: string;
  readonly url: URL;
  /** `h2` and `auto` only with TLS, `h2c` only without. */
  readonly protocol: "http1" | "h2" | "h2c" | "auto";
  /** Infinity if the rate is unlimited. */
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
  readonly headers: { readonly set: Readonly<Record<string, SetHeader>>; readonly remove: readonly string[] };
  readonly token?: TokenConfig;
  readonly sign?: SignConfig;
  /** The requests that get `token` and `sign`: those that were captured with credentials, or all. Set with one of the two. */
  readonly credentialsFor?: "captured" | "all";
  readonly truncated: "skip" | "send";
  /** That of the whole configuration. */
  readonly loopGuard: LoopGuard;
  readonly tls: { readonly ca?: string; readonly verify: boolean; readonly serverName?: string };
  /** Requests are sent only within these times; at any time if the list is empty. */
  readonly windows: readonly Times[];
  /** No requests are sent within these times. */
  readonly blackouts: readonly Times[];
  /** Requests with the same key are sent one after the other. */
  readonly orderBy?: RequestKey;
  /** Opens after this many failures in a row; the first probe is sent `probeAfterMs` later. */
  readonly breaker: { readonly failures: number; readonly probeAfterMs: number };
  /** Network of its replay function in a deployment to AWS. */
  readonly vpc?: VpcPlace;
  /** ARNs of managed policies for the role of its replay function, which signs its requests, in a deployment to AWS. */
  readonly policies?: readonly string[];
}

/** Requests that are kept; see relay/capture. */
export interface CaptureConfig {
  readonly name: string;
  readonly store: ArchivePlace;
  readonly sample: Sample;
  readonly when?: When;
  /** Older requests are deleted: by the host in a directory, by a lifecycle rule of the bucket in S3. */
  readonly keepMs: number;
}

/** Table and queues in AWS that the workers share. */
export interface AwsPlaces {
  /** Name or ARN. */
  readonly table: string;
  readonly tableRegion: string;
  /** Known only if the table is named by its ARN. */
  readonly tableAccount?: string;
  /** URL of the ingress queue. */
  readonly ingressQueue: string;
  /** Queue URLs by the name of the target. A target that is not here reads the ingress queue itself. */
  readonly targetQueues: ReadonlyMap<string, string>;
}

export interface Config {
  /** Absolute path of the file, for messages and for child processes. */
  readonly file: string;
  readonly agent: AgentConfig;
  readonly host: HostConfig;
  readonly loopGuard: LoopGuard;
  /** The queue between agents and host. */
  readonly ingress: IngressPlace;
  /** Directory of the embedded queues and of the state, on the machine of the host. Unused if `aws` is set. */
  readonly queueDirectory: string;
  /** The most that one embedded queue may have: the ingress queue and those of the targets have equal shares of `queue.maxBytes`. */
  readonly queueShareBytes: number;
  /** Set if state and target queues are in AWS. */
  readonly aws?: AwsPlaces;
  /** Origin of the control API; if it is undefined, the API is at `host.admin`. */
  readonly control?: URL;
  readonly targets: readonly TargetConfig[];
  readonly captures: readonly CaptureConfig[];
  readonly log: "debug" | "info" | "warn" | "error" | "silent";
  readonly deployment: Deployment;
  /** Settings that are allowed but probably not meant; logged at the start. */
  readonly warnings: readonly string[];
  /** Environment variables that a replay needs and that this process lacks, or whose values cannot be sent in a header. */
  readonly missing: readonly MissingVariable[];
  /** All environment variables that a replay needs, with the keys that name them. */
  readonly variables: readonly { readonly path: readonly string[]; readonly name: string }[];
}

/** A key of the file that names an environment variable, and what is wrong with the variable. */
interface MissingVariable {
  readonly path: readonly string[];
  readonly mistake: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;
