import type { AwsCredentials } from "../aws/signature.ts";
import type { TargetConfig, TokenConfig } from "../config/config.ts";
import { type Logger, Throttle } from "../log/log.ts";
import type { OutboundRequest, Prepared } from "../replay/outbound.ts";
import { createAwsSource } from "./aws-source.ts";
import { runTokenCommand } from "./command-token.ts";
import { FreshValue, type Obtained } from "./fresh-value.ts";
import { RequestSigner } from "./request-signer.ts";
import { parseTokenAnswer } from "./token-answer.ts";
import { askTokenEndpoint } from "./token-endpoint.ts";

/** A request with credentials, and the token that is in it. */
export type Equipped = Prepared & { readonly token?: string };

/**
 * The credentials that a process has for one target in place of captured ones: a token, a signature, or both. They are
 * obtained when they are needed first, and renewed before their end. While there are none, nothing is sent; the log says so
 * with one line `credentials-down`, at most one more a minute, and `credentials-up` at the end.
 */
export class TargetCredentials {
  readonly #target: string;
  readonly #log: Logger | undefined;
  readonly #throttle = new Throttle();
  readonly #header: string | undefined;
  readonly #format: string;
  readonly #token: FreshValue<string> | undefined;
  readonly #aws: FreshValue<AwsCredentials> | undefined;
  readonly #signer: RequestSigner | undefined;

  /** Undefined where the target needs none. */
  static of(target: TargetConfig, log?: Logger): TargetCredentials | undefined {
    return target.token || target.sign ? new TargetCredentials(target, log) : undefined;
  }

  private constructor({ name, token, sign, headers }: TargetConfig, log: Logger | undefined) {
    this.#target = name;
    this.#log = log;
    this.#header = token?.header;
    this.#format = token?.format ?? "";
    this.#token = token && this.#keep("token", () => obtainToken(token));
    this.#aws = sign && this.#keep("AWS credentials", createAwsSource(sign));
    this.#signer = sign && new RequestSigner(sign, headers);
  }

  /** True where a request can be sent now. */
  get fresh(): boolean {
    return hasCurrent(this.#token) && hasCurrent(this.#aws);
  }

  /**
   * Waits until a request can be sent. False where they cannot be had now, and `patient` is false. Rejects with the signal's
   * reason where that is raised first.
   */
  async ready(signal: AbortSignal, patient: boolean): Promise<boolean> {
    for (const each of [this.#token, this.#aws]) {
      if (each && (await each.get(signal, patient)) === undefined) return false;
    }
    return true;
  }

  /** The request as it may be sent; undefined where there are no credentials now. */
  async equip(request: OutboundRequest): Promise<Equipped | undefined> {
    const token = this.#token?.current;
    const aws = this.#aws?.current;
    if ((this.#token && token === undefined) || (this.#aws && !aws)) return undefined;
    const withToken = token === undefined ? request : this.#addToken(request, token);
    const prepared: Prepared =
      this.#signer && aws ? await this.#signer.sign(withToken, aws) : { kind: "send", request: withToken };
    return token === undefined ? prepared : { ...prepared, token };
  }

  /** Takes note that the shadow answered 401; true where another try with a new token is worth it. */
  refuse({ token }: Equipped): boolean {
    return token !== undefined && this.#token?.refuse(token) === true;
  }

  #addToken(request: OutboundRequest, token: string): OutboundRequest {
    // A function, since a token may hold what replacements give a meaning to.
    const value = this.#format.replace("{token}", () => token);
    return { ...request, headers: [...request.headers, this.#header as string, value] };
  }

  #keep<T>(what: string, obtain: () => Promise<Obtained<T>>): FreshValue<T> {
    const about = { target: this.#target, what };
    return new FreshValue({
      obtain,
      onFailure: (error) =>
        this.#throttle.run(Date.now(), (heldBack) =>
          this.#log?.error(
            { event: "credentials-down", ...about, reason: error.message, heldBack },
            "no credentials for the target: its requests wait until there are some",
          ),
        ),
      onRecovery: () =>
        this.#log?.info({ event: "credentials-up", ...about }, "credentials for the target are available again"),
    });
  }
}

function hasCurrent(value: FreshValue<unknown> | undefined): boolean {
  return value === undefined || value.current !== undefined;
}

async function obtainToken({ source, field, expiresMs }: TokenConfig): Promise<Obtained<string>> {
  const text = source.kind === "command" ? await runTokenCommand(source.command) : await askTokenEndpoint(source);
  return parseTokenAnswer(text, field, expiresMs);
}
