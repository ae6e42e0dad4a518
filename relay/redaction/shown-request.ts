import type { CapturedRequest } from "../pack/captured-request.ts";
import {
  boundaryIn,
  type ContentFacts,
  type ContentKind,
  contentKindOf,
  encodingsOf,
  isCompressed,
  isWide,
  valuesOf,
} from "./content-kind.ts";
import { maskHeaders, maskPath } from "./header-mask.ts";
import { createJsonNames } from "./json-keys.ts";
import { maskJson } from "./json-mask.ts";
import { boundaryOf, maskBrokenMultipart, maskMultipart } from "./multipart.ts";
import { maskParameters } from "./parameters.ts";
import { isSecretName } from "./secret-names.ts";
import { maskSecretText } from "./secret-text.ts";
import { hideUrlPasswords } from "./url-passwords.ts";

/** Most levels of multipart in multipart that are shown. */
const maxDepth = 3;

/** A captured request without what looks like a secret. */
export interface MaskedRequest extends CapturedRequest {
  /** Set if the body is left out because nobody can tell what is in it. */
  readonly hiddenBody?: string;
}

/**
 * Masks what looks like a secret in path, headers and body, for people to look at and for exports. A compressed body, and one in
 * characters that are not ASCII's, is left out.
 *
 * @param mask in place of each secret, without characters that JSON escapes
 */
export function maskRequest(request: CapturedRequest, mask: string): MaskedRequest {
  const { path, headers, body, primary } = request;
  const rules = {
    headers: isSecretName,
    cookies: isSecretName,
    query: isSecretName,
    mask: () => mask,
    within: (value: string) => maskSecretText(value, mask),
  };
  const types = valuesOf(headers, (name) => name.toLowerCase() === "content-type");
  const facts = { types, encodings: encodingsOf(headers) };
  const shown = maskBody(Buffer.from(body).toString("latin1"), facts, Buffer.from(mask).toString("latin1"), 0);
  return {
    ...request,
    path: maskShownPath(path, mask),
    headers: [...maskHeaders(headers, rules)],
    body: Buffer.from(shown ?? "", "latin1"),
    ...(primary?.headers && { primary: { ...primary, headers: [...maskHeaders(primary.headers, rules)] } }),
    ...(shown === undefined && { hiddenBody: "compressed, damaged, or not in UTF-8" }),
  };
}

/** Masks secrets in one value of a request, such as an argument or a header: by its name, or else by what it looks like. */
export function maskNamed(name: string, value: string, mask: string): string {
  const within = (text: string) => maskSecretText(text, mask);
  const rules = { headers: isSecretName, query: isSecretName, mask: () => mask, within };
  return maskHeaders([name, value], rules)[1];
}

/** Masks secrets in a path with its query. */
export function maskShownPath(path: string, mask: string): string {
  const rules = { query: isSecretName, mask: () => mask, within: (text: string) => maskSecretText(text, mask) };
  // A URL in the path is in several of its segments.
  return hideUrlPasswords(maskPath(path, rules), mask);
}

/** A body, or the content of a part at the given depth. Undefined if it cannot be judged. */
function maskBody(body: string, { types, encodings }: ContentFacts, mask: string, depth: number): string | undefined {
  if (body === "") return body;
  const facts = { types: types.slice(0, 1), encodings };
  const kind = contentKindOf(body, facts);
  // No form and no JSON, but text may be in it in any characters.
  if (kind === "encoded" || isWide(body) || isCompressed(body)) return undefined;
  const within = (value: string) => maskSecretText(value, mask);
  // A type with a wrong boundary, or with another one, does not make it another body.
  const boundary = boundaryIn(body) || (kind === "multipart" ? boundaryOf(types[0]) : undefined);
  if (boundary === undefined) return maskText(body, kind, types, mask);
  if (depth === maxDepth) return undefined;
  const rules = {
    names: isSecretName,
    mask: () => mask,
    within,
    // A form in a part is text.
    content: (text: string, of: ContentFacts) => maskBody(text, of, mask, depth + 1),
  };
  return maskMultipart(body, boundary, rules) ?? maskBrokenMultipart(body, boundary, rules);
}

function maskText(text: string, kind: ContentKind, types: readonly string[], mask: string): string {
  if (kind === "json") return maskJsonText(text, mask);
  const within = (value: string) => maskSecretText(value, mask);
  const json = (value: string) => maskJsonText(value, mask);
  const isForm = types.some((type) => /form-?url-?encoded/i.test(type)) || (kind === "form" && !/[\r\n ]/.test(text));
  return isForm ? maskParameters(text, { names: isSecretName, mask: () => mask, within, json }) : within(text);
}

/** The text may be cut off or damaged. */
function maskJsonText(text: string, mask: string): string {
  const within = (value: string) => maskSecretText(value, mask);
  const masked = maskJson(text, { keys: createJsonNames(isSecretName), mask: () => mask, within });
  return masked.brokenAt === undefined ? masked.text : masked.text + within(text.slice(masked.brokenAt));
}
