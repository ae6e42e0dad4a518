import { CredentialsError } from "./credentials-error.ts";
import type { Obtained } from "./fresh-value.ts";

/** Largest output of a command or response of an endpoint, in bytes. */
export const maxTokenAnswerBytes = 64 * 1024;

// Printable ASCII, as a header value may contain.
const tokenText = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
const longestMs = 365 * 86_400_000;

/**
 * Reads the token from an answer: JSON with the token in `field` and optionally `expires_in` in seconds (RFC 6749 5.1),
 * or only the token. Throws `CredentialsError`, which does not quote the answer.
 *
 * @param expiresMs lifetime to assume if the answer has no `expires_in`
 */
export function parseTokenAnswer(text: string, field: string, expiresMs: number): Obtained<string> {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{")) {
    return {
      value: toToken(trimmed, "the answer is neither JSON nor one line of printable ASCII"),
      holdsMs: expiresMs,
    };
  }
  const answer = parseObject(trimmed);
  const token = answer[field];
  const seconds = Number(answer.expires_in);
  return {
    value: toToken(
      typeof token === "string" ? token : "",
      `the answer is JSON without a token in ${field}; set field: if the token has another name`,
    ),
    holdsMs: seconds > 0 ? Math.min(seconds * 1_000, longestMs) : expiresMs,
  };
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message would quote the answer.
    throw new CredentialsError("the answer is invalid JSON");
  }
}

function toToken(text: string, mistake: string): string {
  if (tokenText.test(text)) return text;
  throw new CredentialsError(mistake);
}
