import { type OmitReason, type RedactedBody, redactBody } from "./body-redaction.ts";
import { type RedactedHeaders, redactHeaders, redactPath } from "./head-redaction.ts";
import { isNamedBy } from "./name-pattern.ts";
import { type ModelOutcome, type ModelRequest, valuesOf } from "./request.ts";
import type { ModelRules } from "./rules.ts";
import { specified, Unspecified } from "./unspecified.ts";

/** What has to be in a pack for a request. A part is undefined if the documents do not say what it is. */
export interface Expectation {
  readonly request: ModelRequest;
  readonly path: string | undefined;
  readonly headers: RedactedHeaders | undefined;
  readonly body: string | undefined;
  readonly bodyState: ModelRequest["bodyState"];
  /** The reason if the body was left out; undefined also if that is not known. */
  readonly omitted: OmitReason | undefined;
  readonly outcome: (Omit<ModelOutcome, "headers"> & { readonly headers: RedactedHeaders | undefined }) | undefined;
}

// relay/README.md, Lengths and digests.
const digests = ["content-digest", "repr-digest", "digest", "content-md5", "x-amz-content-sha256", "x-amz-checksum-*"];
const maybeDigests = ["*digest*", "*md5*", "*sha*", "*crc*", "*checksum*", "x-goog-hash"];

/** What is stored of a request. */
export function redacted(request: ModelRequest, rules: ModelRules): Expectation {
  const { outcome } = request;
  const hasRules = [rules.headers, rules.cookies, rules.query, rules.form, rules.json, rules.dropBodies].some(
    ({ length }) => length > 0,
  );
  if (!hasRules) return { ...request, request, omitted: undefined, outcome };
  const body = specified(() => bodyOf(request, rules));
  const headers = redactHeaders(request.headers, rules);
  return {
    request,
    path: specified(() => redactPath(request.path, rules)),
    headers: body && headers && specified(() => fittingHeaders(headers, body, request.body)),
    body: body && ("text" in body ? body.text : ""),
    bodyState: body && ("text" in body ? request.bodyState : stateOfOmitted(request)),
    omitted: body && "omitted" in body ? body.omitted : undefined,
    outcome: outcome && { ...outcome, headers: outcome.headers && redactHeaders(outcome.headers, rules) },
  };
}

/** True if every part of the request is known. */
export function isExact({ request, path, headers, body, bodyState, outcome }: Expectation): boolean {
  const parts = [path, headers, body, bodyState, ...(headers ?? [])];
  const answer = request.outcome?.headers && [outcome?.headers, ...(outcome?.headers ?? [])];
  return ![...parts, ...(answer ?? [])].includes(undefined);
}

function bodyOf(request: ModelRequest, rules: ModelRules): RedactedBody {
  const { headers, body, bodyState, path } = request;
  if (bodyState === undefined && body !== "") throw new Unspecified("a body that may be cut");
  const codings = valuesOf(headers, "transfer-encoding").flatMap((value) => value.split(","));
  const encodings = codings.filter((coding) => coding.trim().toLowerCase() !== "chunked");
  return redactBody(
    body,
    {
      path,
      types: valuesOf(headers, "content-type"),
      encodings: [...valuesOf(headers, "content-encoding"), ...encodings],
      isComplete: bodyState === "complete",
    },
    rules,
  );
}

/** The headers, with the length of the body and without digests if it was changed. */
function fittingHeaders(headers: RedactedHeaders, body: RedactedBody, before: string): RedactedHeaders {
  if ("text" in body && body.text === before) return headers;
  return headers.flatMap((name, i) => {
    if (i % 2 === 1 || name === undefined) return [];
    if (isNamedBy(digests, name)) return [];
    if (isNamedBy(maybeDigests, name)) throw new Unspecified(`the header ${name}`);
    const isLength = name.toLowerCase() === "content-length";
    return [name, isLength && "text" in body ? String(body.text.length) : headers[i + 1]];
  });
}

/** A body that was left out: `omitted` alone would not say that there was one. */
function stateOfOmitted({ contentLength, transferEncoding }: ModelRequest): "omitted" | "truncated" {
  return contentLength > 0 || transferEncoding ? "omitted" : "truncated";
}
