import { request } from "undici";
import type { TokenSource } from "../config/config.ts";
import { CredentialsError } from "./credentials-error.ts";
import { maxTokenAnswerBytes } from "./token-answer.ts";

export type TokenEndpoint = Extract<TokenSource, { readonly kind: "url" }>;

const withinMs = 10_000;

/**
 * Asks a token endpoint and resolves with its response body of at most 64 KiB, within ten seconds. Does not follow
 * redirects. Rejects with `CredentialsError`, which names the endpoint without its query.
 */
export async function askTokenEndpoint(endpoint: TokenEndpoint): Promise<string> {
  const { url, headers, body } = endpoint;
  const place = url.origin + url.pathname;
  try {
    const { statusCode, body: answer } = await request(url, {
      method: body ? "POST" : "GET",
      headers: { accept: "application/json, text/plain;q=0.9", ...(body && contentType[body.type]), ...headers },
      ...(body && { body: encodeBody(body) }),
      signal: AbortSignal.timeout(withinMs),
    });
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of answer) {
      bytes += (chunk as Buffer).length;
      // Leaving the loop closes the connection.
      if (bytes > maxTokenAnswerBytes) break;
      chunks.push(chunk as Buffer);
    }
    if (bytes > maxTokenAnswerBytes) throw new CredentialsError(`answers more than ${maxTokenAnswerBytes / 1_024} KiB`);
    const text = Buffer.concat(chunks).toString();
    if (statusCode !== 200 && statusCode !== 201) throw new CredentialsError(`answers ${statusCode}${errorOf(text)}`);
    return text;
  } catch (error) {
    throw new CredentialsError(`${place} ${toMistake(error as Error & { code?: unknown })}`, { cause: error });
  }
}

const contentType = {
  form: { "content-type": "application/x-www-form-urlencoded" },
  json: { "content-type": "application/json" },
} as const;

function encodeBody({ type, fields }: NonNullable<TokenEndpoint["body"]>): string {
  return type === "form" ? new URLSearchParams(fields).toString() : JSON.stringify(fields);
}

// RFC 6749 5.2: these codes are not secret. Everything else in the response may be.
const knownErrors =
  /"error"\s*:\s*"(invalid_request|invalid_client|invalid_grant|unauthorized_client|unsupported_grant_type|invalid_scope)"/;

function errorOf(text: string): string {
  const known = knownErrors.exec(text);
  return known ? ` (${known[1]})` : "";
}

function toMistake(error: Error & { code?: unknown }): string {
  if (error instanceof CredentialsError) return error.message;
  if (error.name === "TimeoutError") return `does not answer within ${withinMs / 1_000} s`;
  return `does not answer: ${typeof error.code === "string" ? error.code : error.name}`;
}
