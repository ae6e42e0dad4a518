import type { AwsCredentials } from "../aws/signature.ts";
import type { TargetConfig, TokenConfig } from "../config/config.ts";
import type { Logger } from "../log/log.ts";
import { Outage } from "../log/outage.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import type { OutboundRequest, Prepared } from "../replay/outbound.ts";
import { createAwsSource } from "./aws-source.ts";
import { carriesCredentials } from "./captured-credentials.ts";
import { runTokenCommand } from "./command-token.ts";
import { FreshValue, type Obtained } from "./fresh-value.ts";
import { RequestSigner } from "./request-signer.ts";
import { parseTokenAnswer } from "./token-answer.ts";
import { askTokenEndpoint } from "./token-endpoint.ts";

/** A request with its credentials, and the token in it. `anonymous`: it was captured without any, and gets none. */
export type Equipped = Prepared & { readonly token?: string; readonly anonymous?: true };

/**
 * A target's own credentials, which replace captured ones: a token, a signature, or both. They are obtained on first
 * use and renewed before they expire. Nothing is sent without them. While they are missing, the log has the line
 * `credentials-down` at most once a minute, and then `credentials-up`.
 */
export class TargetCredentials {
  readonly #target: string;
  readonly #log: Logger | undefined;
  readonly #header: string | undefined;
  readonly #format: string;
  readonly #token: FreshValue<string> | undefined;
  readonly #aws: FreshValue<AwsCredentials> | undefined;
  readonly #signer: RequestSigner | undefined;
  readonly #forAll: boolean;

  /** Undefined if the target has neither a token nor a signature. */
  static of(target: TargetConfig, log?: Logger): TargetCredentials | undefined {
    return target.token || target.sign ? new TargetCredentials(target, log) : undefined;
  }

  private constructor({ name, token, sign, headers, credentialsFor }: TargetConfig, log: Logger | undefined) {
    this.#target = name;
    this.#log = log;
    this.#header = token?.header;
    this.#format = token?.format ?? "";
    this.#token = token && this.#keep("token", () => obtainToken(token));
    this.#aws = sign && this.#keep("AWS credentials", createAwsSource(sign));
    this.#signer = sign && new RequestSigner(sign, headers);
    this.#forAll = credentialsFor === "all";
  }

  /** Whether a request can be sent now. */
  get fresh(): boolean {
    return hasCurrent(this.#token) && hasCurrent(this.#aws);
  }

  /**
   * Waits until a request can be sent. Resolves with false if `patient` is false and there are no credentials now.
   * Rejects with the signal's reason if it is aborted first.
   */
  async ready(signal: AbortSignal, patient: boolean): Promise<boolean> {
    for (const each of [this.#token, this.#aws]) {
      if (each && (await each.get(signal, patient)) === undefined) return false;
    }
    return true;
  }

  /**
   * Adds the credentials to a request; undefined if there are none now. By default a request that was captured without
   * credentials is sent as it came: otherwise any client would act with the rights of the relay.
   */
  async equip(request: OutboundRequest, captured: CapturedRequest): Promise<Equipped | undefined> {
    if (!this.#forAll && !carriesCredentials(captured, this.#header)) return { kind: "send", request, anonymous: true };
    const token = this.#token?.current;
    const aws = this.#aws?.current;
    if ((this.#token && token === undefined) || (this.#aws && !aws)) return undefined;
    const withToken = token === undefined ? request : this.#addToken(request, token);
    const prepared: Prepared =
      this.#signer && aws ? await this.#signer.sign(withToken, aws) : { kind: "send", request: withToken };
    return token === undefined ? prepared : { ...prepared, token };
  }

  /** Reports that the shadow answered 401. Returns true if a retry with another token makes sense. */
  refuse({ token }: Equipped): boolean {
    return token !== undefined && this.#token?.refuse(token) === true;
  }

  #addToken(request: OutboundRequest, token: string): OutboundRequest {
    // A replacer function: in a replacement string, a `$` in the token would have a meaning.
    const value = this.#format.replace("{token}", () => token);
    return { ...request, headers: [...request.headers, this.#header as string, value] };
  }

  #keep<T>(what: string, obtain: () => Promise<Obtained<T>>): FreshValue<T> {
    const outage = new Outage(this.#log, {
      down: ["credentials-down", "no credentials for the target: its requests wait until there are some"],
      up: ["credentials-up", "credentials for the target are available again"],
      about: { target: this.#target, what },
    });
    return new FreshValue({
      obtain,
      onFailure: (error) => outage.fail(error.message),
      onRecovery: () => outage.recover(),
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
