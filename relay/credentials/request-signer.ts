import type { SignatureV4 } from "@smithy/signature-v4";
import { type AwsCredentials, createSigner } from "../aws/signature.ts";
import type { SignConfig, TargetConfig } from "../config/config.ts";
import type { OutboundRequest, Prepared } from "../replay/outbound.ts";

/**
 * Signs the requests of one target for AWS (Signature Version 4). The signature covers method, path, query, body,
 * `Host`, `Content-Type` and the `X-Amz-*` headers that the target sets. It does not cover other headers, because
 * proxies on the way may change them.
 *
 * Removes captured `Authorization` and `X-Amz-*` headers and `X-Amz-*` query parameters. Sends path and query in the
 * canonical form that is signed, with `%20` for `+`.
 */
export class RequestSigner {
  readonly #purpose: SignConfig;
  readonly #setNames: ReadonlySet<string>;
  #signer: SignatureV4 | undefined;
  #credentials: AwsCredentials | undefined;

  constructor(purpose: SignConfig, { set }: TargetConfig["headers"]) {
    this.#purpose = purpose;
    this.#setNames = new Set(Object.keys(set));
  }

  async sign(request: OutboundRequest, credentials: AwsCredentials): Promise<Prepared> {
    const { method, body } = request;
    const [path, query] = toSignable(request.path);
    const decoded = decodeQuery(query);
    if (!decoded) return { kind: "unsendable", reason: "the query is not UTF-8 and cannot be signed" };
    const headers = withoutSignature(request.headers, this.#setNames);
    this.#credentials = credentials;
    this.#signer ??= await createSigner({
      ...this.#purpose,
      credentials: async () => this.#credentials as AwsCredentials,
    });
    const unsigned = {
      method,
      protocol: "https:",
      hostname: "",
      path,
      query: decoded,
      headers: signedHeaders(headers),
      body,
    };
    const { headers: signed } = await this.#signer.sign(unsigned);
    const added = Object.entries(signed).filter(([name]) => isOfSignature(name) && !this.#setNames.has(name));
    return {
      kind: "send",
      request: { method, path: query === "" ? path : `${path}?${query}`, headers: [...headers, ...added.flat()], body },
    };
  }
}

// Query parameters of a presigned URL.
const presigned = /^x-amz-(?:algorithm|credential|date|expires|signature|signedheaders|security-token)(?:=|$)/i;

/** Encodes path and query as in RFC 3986: everything except letters, digits, `-`, `.`, `_` and `~`. */
function toSignable(pathAndQuery: string): readonly [path: string, query: string] {
  const mark = pathAndQuery.indexOf("?");
  if (mark < 0) return [encode(pathAndQuery, "/"), ""];
  const pairs = pathAndQuery
    .slice(mark + 1)
    .split("&")
    .filter((pair) => pair !== "" && !presigned.test(pair));
  const query = pairs.map((pair) => {
    const spaced = pair.replaceAll("+", "%20");
    const equals = spaced.indexOf("=");
    return equals < 0 ? encode(spaced) : `${encode(spaced.slice(0, equals))}=${encode(spaced.slice(equals + 1))}`;
  });
  return [encode(pathAndQuery.slice(0, mark), "/"), query.join("&")];
}

/** @param text one character per byte; may be percent-encoded in part */
function encode(text: string, kept = ""): string {
  return text.replace(/%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~]/g, (part) => {
    const byte = part.length === 3 ? Number.parseInt(part.slice(1), 16) : part.charCodeAt(0);
    const character = String.fromCharCode(byte);
    if (part === kept || /[A-Za-z0-9\-._~]/.test(character)) return character;
    return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  });
}

/** Undefined if the query is not UTF-8. The signer encodes the decoded query again. */
function decodeQuery(query: string): Record<string, string[]> | undefined {
  try {
    const pairs = query === "" ? [] : query.split("&").map((pair) => pair.split("=").map(decodeURIComponent));
    const values = Map.groupBy(pairs, ([name]) => name);
    return Object.fromEntries(Array.from(values, ([name, all]) => [name, all.map(([, value = ""]) => value)]));
  } catch {
    return undefined;
  }
}

function withoutSignature(headers: readonly string[], setNames: ReadonlySet<string>): string[] {
  return headers.filter((_, i) => {
    const name = headers[i - (i % 2)].toLowerCase();
    return setNames.has(name) || !isOfSignature(name);
  });
}

function isOfSignature(name: string): boolean {
  return name === "authorization" || name.startsWith("x-amz-");
}

function signedHeaders(headers: readonly string[]): Record<string, string> {
  const signed: Record<string, string> = {};
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i].toLowerCase();
    if (name !== "host" && name !== "content-type" && !isOfSignature(name)) continue;
    signed[name] = name in signed ? `${signed[name]},${headers[i + 1]}` : headers[i + 1];
  }
  return signed;
}
