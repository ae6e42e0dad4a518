import type { CapturedRequest } from "../pack/captured-request.ts";
import { contentKindOf, valuesOf } from "./content-kind.ts";
import { maskHeaders, maskPath } from "./header-mask.ts";
import { createJsonNames } from "./json-keys.ts";
import { maskJson } from "./json-mask.ts";
import { boundaryOf, maskBrokenMultipart, maskMultipart } from "./multipart.ts";
import { maskParameters } from "./parameters.ts";
import { isSecretName } from "./secret-names.ts";
import { maskSecretText } from "./secret-text.ts";

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
  const shown = maskBody(Buffer.from(body).toString("latin1"), headers, Buffer.from(mask).toString("latin1"));
  return {
    ...request,
    path: maskPath(path, rules),
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
  return maskPath(path, { query: isSecretName, mask: () => mask, within: (text) => maskSecretText(text, mask) });
}

/** Undefined if the body cannot be judged. */
function maskBody(body: string, headers: readonly string[], mask: string): string | undefined {
  if (body === "") return body;
  const types = valuesOf(headers, (name) => name.toLowerCase() === "content-type");
  const encodings = valuesOf(headers, (name) => name.toLowerCase() === "content-encoding");
  const kind = contentKindOf(body, { types: types.slice(0, 1), encodings });
  const toMask = () => mask;
  const within = (text: string) => maskSecretText(text, mask);
  const fields = { names: isSecretName, mask: toMask, within };
  if (kind === "encoded") return undefined;
  if (kind === "json") return maskJsonText(body, mask);
  if (kind === "multipart") {
    const content = (text: string) => (/^\s{0,1000}[[{]/.test(text) ? maskJsonText(text, mask) : within(text));
    const rules = { ...fields, content };
    return maskMultipart(body, boundaryOf(types[0]), rules) ?? maskBrokenMultipart(body, boundaryOf(types[0]), rules);
  }
  return kind === "form" && !/[\r\n ]/.test(body) ? maskParameters(body, fields) : within(body);
}

/** The text may be cut off or damaged. */
function maskJsonText(text: string, mask: string): string {
  const within = (value: string) => maskSecretText(value, mask);
  const masked = maskJson(text, { keys: createJsonNames(isSecretName), mask: () => mask, within });
  return masked.brokenAt === undefined ? masked.text : masked.text + within(text.slice(masked.brokenAt));
}
