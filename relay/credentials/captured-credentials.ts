import type { TargetConfig } from "../config/config.ts";
import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";

// Fewer than the names that are hidden from people: `key` or `x-amz-cf-id` says nothing about the client. Nor does the token of a
// page, or that somebody has answered a banner.
const credentialName = /authorization|token|secret|passw|(?:api|access)[-_]?key|session|signature/i;
const otherToken = /(?:page|next|continuation)[-_]?token|tokeni[sz]/i;

const credentialHeaders = ["authorization", "cookie"] as const;

/** Whether a request is sent with its captured credentials, which may have expired since. */
export function sendsCapturedCredentials({ headers, sign }: TargetConfig, request: CapturedRequest): boolean {
  return credentialHeaders.some(
    (name) =>
      headerOf(request.headers, name) !== undefined &&
      !headers.remove.includes(name) &&
      !Object.hasOwn(headers.set, name) &&
      !(sign && name === "authorization"),
  );
}

/**
 * Whether a captured request had credentials of its own: a header or a parameter of the query whose name looks like a credential,
 * with a value. It may have been masked by the agent. False if the primary refused them with 401 or 403, which is known only of
 * requests that were mirrored on the response: otherwise nobody knows whether they are valid.
 *
 * @param tokenHeader a header that also counts, in lower case: the one that the target's token replaces
 */
export function carriesCredentials({ headers, path, primary }: CapturedRequest, tokenHeader?: string): boolean {
  if (primary?.status === 401 || primary?.status === 403) return false;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i + 1] !== "" && (isCredential(headers[i]) || headers[i].toLowerCase() === tokenHeader)) return true;
  }
  const mark = path.indexOf("?");
  return (
    mark >= 0 &&
    path
      .slice(mark + 1)
      .split("&")
      .some(isSecretParameter)
  );
}

function isSecretParameter(pair: string): boolean {
  const equals = pair.indexOf("=");
  return equals > 0 && equals + 1 < pair.length && isCredential(pair.slice(0, equals));
}

function isCredential(name: string): boolean {
  return name.toLowerCase() === "cookie" || (credentialName.test(name) && !otherToken.test(name));
}

/** Says which requests get the credentials of a target, for people; undefined if the target has none. */
export function describeCredentials({ token, sign, credentialsFor }: TargetConfig): string | undefined {
  const names = [...(token ? ["token"] : []), ...(sign ? ["sign"] : [])].join(" and ");
  if (names === "") return undefined;
  return credentialsFor === "all"
    ? `${names}: on every request, also of clients without credentials: on the shadow they act as the relay`
    : `${names}: only on requests that carried credentials of their own; credentials: { for: all } for every request`;
}
