import type { Agent, Dispatcher } from "undici";
import { credentialsAdvice, explainRefusal, toRefusal } from "../aws/refusal.ts";
import { functionUrlRegion, signRequest } from "../aws/signature.ts";
import type { Config } from "../config/config.ts";
import { findClearControl } from "../config/conflicts.ts";
import type { HostStats } from "../stats/host-stats.ts";
import { formatAddress } from "./admin-client.ts";
import type {
  DeadLetterAnswer,
  DeadLettersAnswer,
  FiguresAnswer,
  ProblemAnswer,
  SweepAnswer,
  TargetAnswer,
} from "./answers.ts";
import { isOwnAddress } from "./own-address.ts";
import { readTokenFile, TokenFileError } from "./token-file.ts";

/** A change of a target's settings, in the units of the configuration; null returns to the configured value. */
export interface SettingsChange {
  readonly rate?: string | null;
  readonly concurrency?: number | null;
  readonly sample?: string | null;
}

/** The dead letter that is meant, by default all; and the `startedAt` of the first answer. */
export interface SweepCall {
  readonly id?: string | undefined;
  readonly startedAt?: string | undefined;
}

export type ControlErrorCode =
  /** There was no answer, or it was late. */
  | "UNREACHABLE"
  /** The request itself is wrong, or names something that does not exist. */
  | "BAD_REQUEST"
  /** The request is valid, but cannot be carried out now, or not for this caller. */
  | "FAILED";

export class ControlError extends Error {
  readonly code: ControlErrorCode;
  /** The mistakes in a request that the API refused, with their places, such as `body.rate`; else empty. */
  readonly mistakes: NonNullable<ProblemAnswer["errors"]>;

  constructor(
    code: ControlErrorCode,
    message: string,
    { mistakes = [], ...options }: ErrorOptions & { readonly mistakes?: ControlError["mistakes"] } = {},
  ) {
    super(message, options);
    this.name = "ControlError";
    this.code = code;
    this.mistakes = mistakes;
  }
}

export type ControlPlace = Pick<Config, "file" | "control" | "aws"> & {
  readonly host: Pick<Config["host"], "admin" | "token" | "tokenFile">;
};

const connectTimeoutMs = 3_000;
// A redrive call runs for about 5 s, and a call to SQS takes as long to fail.
const answerTimeoutMs = 30_000;

// Encoded, a name may have 200 bytes, and servers take 10 to 16 KB of headers.
const runsAtOnce = 40;

/**
 * Client of the control API at `control`, if the configuration has it, else at `host.admin`. Sends `host.token` (to
 * `host.admin`, also the content of `host.tokenFile`), but never unencrypted to another machine, and signs calls to a function
 * URL. All methods throw `ControlError`, whose message is meant for the operator.
 */
export class ControlClient {
  readonly #place: ControlPlace;
  readonly #origin: URL;
  readonly #dispatcher: Promise<Dispatcher>;

  /** @param dispatcher replaces the client's own connections */
  constructor(place: ControlPlace, dispatcher?: Dispatcher) {
    const { admin } = place.host;
    this.#place = place;
    this.#origin = place.control ?? new URL(admin.kind === "unix" ? "http://localhost" : `http://${hostOf(admin)}`);
    const socket = !place.control && admin.kind === "unix" && { socketPath: admin.path };
    this.#dispatcher = dispatcher
      ? Promise.resolve(dispatcher)
      : connect({
          connect: { timeout: connectTimeoutMs, ...socket },
          headersTimeout: answerTimeoutMs,
          bodyTimeout: answerTimeoutMs,
        });
  }

  async targets(): Promise<readonly TargetAnswer[]> {
    return (await this.#ask<{ readonly targets: readonly TargetAnswer[] }>("GET", "/v1/targets")).targets;
  }

  async changeTarget(target: string, change: SettingsChange): Promise<TargetAnswer> {
    return this.#ask("PATCH", `/v1/targets/${encodeURIComponent(target)}`, change);
  }

  async pauseTarget(target: string): Promise<TargetAnswer> {
    return this.#ask("POST", `/v1/targets/${encodeURIComponent(target)}/pause`);
  }

  async resumeTarget(target: string): Promise<TargetAnswer> {
    return this.#ask("POST", `/v1/targets/${encodeURIComponent(target)}/resume`);
  }

  /** @param minutes how many of the last minutes, including the current one */
  async figures(target: string, minutes: number): Promise<FiguresAnswer> {
    return this.#ask("GET", `/v1/targets/${encodeURIComponent(target)}/figures?minutes=${minutes}`);
  }

  /** @param runs agents' runs that are listed one by one even if they have ended; with more than 40, `ended` may include some, too */
  async ledger(runs: readonly string[] = []): Promise<HostStats> {
    const stats = await this.#ledgerWith(runs.slice(0, runsAtOnce));
    const agents = [...stats.agents];
    const left = runs.slice(runsAtOnce).filter((run) => !agents.some(({ agent }) => agent === run));
    while (left.length > 0) {
      const asked = left.splice(0, runsAtOnce);
      agents.push(...(await this.#ledgerWith(asked)).agents.filter(({ agent }) => asked.includes(agent)));
    }
    return { ...stats, agents };
  }

  async #ledgerWith(runs: readonly string[]): Promise<HostStats> {
    // Not by URLSearchParams: it writes a space as +, which signatures take for a plus.
    const query = runs.length === 0 ? "" : `?runs=${encodeURIComponent(runs.join(" "))}`;
    return this.#ask("GET", `/v1/ledger${query}`);
  }

  async deadLetters(queue: string, limit: number): Promise<DeadLettersAnswer> {
    return this.#ask("GET", `/v1/queues/${encodeURIComponent(queue)}/dead-letters?limit=${limit}`);
  }

  async deadLetter(queue: string, id: string): Promise<DeadLetterAnswer> {
    return this.#ask("GET", `/v1/queues/${encodeURIComponent(queue)}/dead-letters/${encodeURIComponent(id)}`);
  }

  /**
   * One call may end before all letters are sent: repeat it with the `startedAt` of the first answer until `done`.
   *
   * @param to another target that the letters are sent to
   */
  async redrive(queue: string, options: SweepCall & { readonly to?: string | undefined } = {}): Promise<SweepAnswer> {
    return this.#ask("POST", `/v1/queues/${encodeURIComponent(queue)}/dead-letters/redrive`, options);
  }

  /** Repeat it as `redrive`. */
  async discard(queue: string, options: SweepCall = {}): Promise<SweepAnswer> {
    return this.#ask("POST", `/v1/queues/${encodeURIComponent(queue)}/dead-letters/discard`, options);
  }

  async close(): Promise<void> {
    await (await this.#dispatcher).close().catch(() => {});
  }

  async #ask<T>(method: Dispatcher.HttpMethod, path: string, content?: object): Promise<T> {
    const body = content && JSON.stringify(content);
    const url = new URL(path, this.#origin);
    const headers = await this.#headers(method, url, body);
    let status: number;
    let text: string;
    let awsCode: string;
    try {
      const dispatcher = await this.#dispatcher;
      const answer = await dispatcher.request({
        origin: this.#origin.origin,
        path: url.pathname + url.search,
        method,
        headers,
        ...(body !== undefined && { body }),
      });
      status = answer.statusCode;
      awsCode = String(answer.headers["x-amzn-errortype"] ?? "");
      text = await answer.body.text();
    } catch (error) {
      throw new ControlError("UNREACHABLE", this.#explainSilence(error as Error & { code?: string }), { cause: error });
    }
    const json = parseJson(text);
    if (status === 200 && json !== undefined) return json as T;
    throw this.#toError(status, json, awsCode);
  }

  /** The token of a host of this machine may be in a file, which never leaves the machine. */
  #token(): { readonly token?: string | undefined; readonly file?: string; readonly problem?: string } {
    const { control, host } = this.#place;
    if (host.token !== undefined || host.tokenFile === undefined || control) return { token: host.token };
    try {
      return { token: readTokenFile(host.tokenFile), file: host.tokenFile };
    } catch (error) {
      if (!(error instanceof TokenFileError)) throw error;
      // Figures need no token.
      return { problem: error.message };
    }
  }

  async #headers(method: string, url: URL, body: string | undefined): Promise<Record<string, string>> {
    const { token } = this.#token();
    const headers = {
      accept: "application/json",
      ...(body !== undefined && { "content-type": "application/json" }),
    };
    const region = this.#place.control && functionUrlRegion(this.#place.control);
    if (region === undefined) {
      if (token === undefined) return headers;
      await this.#assertNobodyReads();
      return { ...headers, authorization: `Bearer ${token}` };
    }
    try {
      return await signRequest({ method, url, headers, ...(body !== undefined && { body }) }, region);
    } catch (error) {
      const refusal = toRefusal(error);
      const advice = credentialsAdvice(refusal) ?? "the call to the control API cannot be signed";
      throw new ControlError("FAILED", explainRefusal(advice, refusal), { cause: error });
    }
  }

  /** Throws if the token would go to another machine unencrypted. */
  async #assertNobodyReads(): Promise<void> {
    const { control, file, host } = this.#place;
    const [clear] = findClearControl(this.#place);
    if (clear) throw new ControlError("BAD_REQUEST", `${file}: control: ${clear.mistake}`);
    if (control || host.admin.kind === "unix") return;
    const isOwn = await isOwnAddress(host.admin.host).catch((error: Error) => {
      throw new ControlError("UNREACHABLE", this.#explainSilence(error), { cause: error });
    });
    if (isOwn) return;
    const mistake = `${formatAddress(host.admin)} is another machine, and would get the token of the host unencrypted`;
    const advice =
      "run this on the host's machine, or set control: to an https origin or to a tunnel that begins on 127.0.0.1";
    throw new ControlError("BAD_REQUEST", `${file}: host.admin: ${mistake}: ${advice}`);
  }

  #explainSilence(error: Error & { readonly code?: string }): string {
    const { aws, control, file, host } = this.#place;
    const noListener = error.code === "ECONNREFUSED" || error.code === "ENOENT";
    if (control) {
      return `${control.origin} does not answer: ${error.message || error.code}; check control in ${file}`;
    }
    const address = formatAddress(host.admin);
    if (noListener) {
      const functions = `if Lambda functions replay, set control: in ${file} to the output ControlUrl of the deployment`;
      const start = aws ? `${functions}; else start a host` : "start it";
      return `no host answers on ${address}; ${start}: spoa-relay host --config ${file}`;
    }
    const late = error.code === "UND_ERR_HEADERS_TIMEOUT" || error.code === "UND_ERR_BODY_TIMEOUT";
    const reason = late ? `no answer within ${answerTimeoutMs / 1_000} s` : error.message || error.code;
    return `the host on ${address} does not answer: ${reason}; look at its log, and check host.admin in ${file}`;
  }

  #toError(status: number, answer: unknown, awsCode: string): ControlError {
    const { problem, token, file: tokenFile } = status === 401 ? this.#token() : {};
    if (problem !== undefined) return new ControlError("FAILED", problem);
    if (tokenFile !== undefined) return new ControlError("FAILED", explainToken(tokenFile, token !== undefined));
    const { detail, errors: mistakes = [] } = (answer ?? {}) as Partial<ProblemAnswer>;
    if (typeof detail === "string") {
      return new ControlError(status === 400 || status === 404 ? "BAD_REQUEST" : "FAILED", detail, { mistakes });
    }
    const { control, host, file } = this.#place;
    const { Message, message } = (answer ?? {}) as { readonly Message?: string; readonly message?: string };
    const refusal = { code: awsCode, text: Message ?? message ?? "no reason given", status };
    if (awsCode !== "" && status === 403) {
      // AWS itself answers if it refuses the call.
      const needed = "the caller needs lambda:InvokeFunctionUrl on the function behind control:";
      return new ControlError("FAILED", explainRefusal(credentialsAdvice(refusal) ?? needed, refusal));
    }
    if (awsCode !== "") return new ControlError("FAILED", explainRefusal("the control function failed", refusal));
    const address = control?.origin ?? formatAddress(host.admin);
    return new ControlError(
      "FAILED",
      `${address} answers ${status} and is not a control API; check ${control ? "control" : "host.admin"} in ${file}`,
    );
  }
}

function explainToken(tokenFile: string, exists: boolean): string {
  const what = exists
    ? `${tokenFile} has another token than the host`
    : `there is no file ${tokenFile} (host.tokenFile)`;
  return `the token is missing or wrong: ${what}; run this on the host's machine with its configuration, and look for control-closed in the host's log`;
}

function hostOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Loads undici only when a command asks the API: it takes a third of the time of a start. */
async function connect(options: Agent.Options): Promise<Dispatcher> {
  const undici = await import("undici");
  return new undici.Agent(options);
}
