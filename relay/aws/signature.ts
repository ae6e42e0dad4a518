import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";
import type { SignatureV4 } from "@smithy/signature-v4";

export interface SignableRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The region of a Lambda function URL; undefined for any other URL. */
export function functionUrlRegion({ hostname }: URL): string | undefined {
  return /^[a-z0-9]+\.lambda-url\.([a-z0-9-]+)\.on\.aws$/.exec(hostname)?.[1];
}

/**
 * Returns the headers of a request, including its signature (Signature Version 4). Finds credentials like every AWS
 * SDK: environment, profile, role. Rejects if there are none.
 */
export async function signRequest(
  request: SignableRequest,
  region: string,
  service = "lambda",
): Promise<Record<string, string>> {
  const signer = await createSigner({ service, region, credentials: await createCredentialChain() });
  const { method, url, headers, body } = request;
  const signed = await signer.sign({
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: { ...headers, host: url.host },
    ...(body !== undefined && { body }),
  });
  return signed.headers;
}

/** AWS credentials for signing requests. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/**
 * Finds credentials like every AWS SDK (environment, profile, role), and caches them until shortly before they expire.
 */
export async function createCredentialChain(profile?: string): Promise<() => Promise<AwsCredentials>> {
  // Imported lazily, here and below: processes that do not sign should not load the SDK.
  const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
  return defaultProvider(profile === undefined ? {} : { profile });
}

/** Creates a signer (Signature Version 4) for a service in a region. */
export async function createSigner(purpose: {
  readonly service: string;
  readonly region: string;
  readonly credentials: () => Promise<AwsCredentials>;
}): Promise<SignatureV4> {
  const { SignatureV4: Signer } = await import("@smithy/signature-v4");
  // S3 signs the path as it is sent; all other services encode it once more.
  return new Signer({ ...purpose, sha256: Sha256, uriEscapePath: purpose.service !== "s3" });
}

/** The signer's hash: SHA-256, or an HMAC if there is a secret. */
class Sha256 {
  readonly #secret: Secret | undefined;
  #hash: Hash | Hmac;

  constructor(secret?: Secret) {
    this.#secret = secret;
    this.#hash = createSha256(secret);
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = createSha256(this.#secret);
  }
}

type Secret = string | ArrayBuffer | ArrayBufferView;

function createSha256(secret: Secret | undefined): Hash | Hmac {
  return secret === undefined ? createHash("sha256") : createHmac("sha256", toBytes(secret));
}

function toBytes(secret: Secret): Uint8Array {
  if (typeof secret === "string") return Buffer.from(secret);
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret);
}
