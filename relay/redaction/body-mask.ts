import { type ContentFacts, contentKindOf } from "./content-kind.ts";
import type { JsonKeys } from "./json-keys.ts";
import { maskJson } from "./json-mask.ts";
import { boundaryOf, maskMultipart } from "./multipart.ts";
import type { NameTest } from "./name-patterns.ts";
import { maskParameters } from "./parameters.ts";

/** What is masked in bodies. At least one of fields and keys is given. Texts have one character per byte. */
export interface BodyRules<Place> {
  /** Fields of forms, urlencoded and multipart. */
  readonly fields?: NameTest;
  readonly keys?: JsonKeys<Place>;
  readonly mask: (value: string) => string;
}

/** Why a body to which the rules apply cannot be read. */
export const unreadableReasons = ["encoded", "ambiguous", "damaged", "truncated", "large"] as const;

type Unreadable = (typeof unreadableReasons)[number];

/** Largest body that is read: a larger one would delay the answers to HAProxy by milliseconds. */
const maxReadBytes = 1024 * 1024;

const beginsAsJson = /^[ \t\r\n]{0,1000}[[{]/;

/**
 * The body with its secrets masked, the same text if it has none, or the reason why that is not known. Bodies that are neither JSON
 * nor forms have no fields and are kept.
 */
export function maskBody<Place>(
  body: string,
  whole: boolean,
  facts: ContentFacts,
  { fields, keys, mask }: BodyRules<Place>,
): { readonly text: string } | { readonly unreadable: Unreadable } {
  const kind = contentKindOf(body, facts);
  if (kind === "other") return { text: body };
  if (kind === "encoded" || kind === "ambiguous") return { unreadable: kind };
  if (kind === "form" && !fields) return { text: body };
  if (!whole) return { unreadable: "truncated" };
  if (body.length > maxReadBytes) return { unreadable: "large" };
  if (kind === "multipart") {
    const text = maskMultipart(body, boundaryOf(facts.types[0]), {
      names: fields ?? (() => false),
      mask,
      content: (content) => (keys && beginsAsJson.test(content) ? toMaskedJson(content, keys, mask) : content),
    });
    return text === undefined ? { unreadable: "damaged" } : { text };
  }
  // A body with a form's Content-Type may be JSON all the same, and the other way round.
  if (kind === "form" || !keys) return { text: fields ? maskParameters(body, { names: fields, mask }) : body };
  const text = toMaskedJson(body, keys, mask);
  return text === undefined ? { unreadable: "damaged" } : { text };
}

/** Undefined if the text is no JSON. */
function toMaskedJson<Place>(text: string, keys: JsonKeys<Place>, mask: (value: string) => string): string | undefined {
  const masked = maskJson(text, { keys, mask });
  return masked.brokenAt === undefined ? masked.text : undefined;
}
