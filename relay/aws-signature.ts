import { createHash, createHmac, type Hash, type Hmac } from "node:crypto";

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
 * The headers of a request with those that make it a signed one (Signature Version 4). Credentials are found as by every
 * AWS SDK: environment, profile, role. Rejects where there are none.
 */
export async function signRequest(request: SignableRequest, region: string): Promise<Record<string, string>> {
  // Only here, so that who does not sign pays nothing for the SDK.
  const [{ SignatureV4 }, { defaultProvider }] = await Promise.all([
    import("@smithy/signature-v4"),
    import("@aws-sdk/credential-provider-node"),
  ]);
  const { method, url, headers, body } = request;
  const signer = new SignatureV4({ service: "lambda", region, credentials: defaultProvider(), sha256: Sha256 });
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

/** What the signer hashes with: a digest, or with a secret an HMAC. */
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
