import { toRefusal } from "../aws/refusal.ts";
import { type AwsCredentials, createCredentialChain } from "../aws/signature.ts";
import { orAborted } from "../concurrency/or-aborted.ts";
import type { SignConfig } from "../config/config.ts";
import { CredentialsError } from "./credentials-error.ts";
import type { Obtained } from "./fresh-value.ts";

/**
 * Finds AWS credentials like every AWS SDK. Rejects with `CredentialsError` if there are none, or if their source (a
 * role, a sign-on service or a program) does not answer in time: the SDK itself would wait forever.
 */
export function createAwsSource({ profile }: SignConfig, withinMs = 10_000): () => Promise<Obtained<AwsCredentials>> {
  let chain: Promise<() => Promise<AwsCredentials>> | undefined;
  return async () => {
    const deadline = AbortSignal.timeout(withinMs);
    chain ??= createCredentialChain(profile);
    try {
      const credentials = await orAborted((await chain)(), deadline);
      const holdsMs = (credentials.expiration?.getTime() ?? Number.POSITIVE_INFINITY) - Date.now();
      if (holdsMs <= 0) throw new CredentialsError("the credentials have expired");
      return { value: credentials, holdsMs };
    } catch (error) {
      // The chain caches a pending answer: a new chain asks the source again.
      chain = undefined;
      if (deadline.aborted) {
        throw new CredentialsError(`no AWS credentials: their source did not answer within ${withinMs / 1_000} s`);
      }
      const { code, text } = toRefusal(error);
      throw new CredentialsError(`no AWS credentials (${code}: ${text})`, { cause: error });
    }
  };
}
