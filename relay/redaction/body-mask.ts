import { type ContentFacts, contentKindOf } from "./content-kind.ts";
import type { JsonKeys } from "./json-keys.ts";
import { maskJson } from "./json-mask.ts";
import type { LimitedMask } from "./limited-mask.ts";
import { boundaryOf, maskMultipart } from "./multipart.ts";
import type { NameTest } from "./name-patterns.ts";
import { maskParameters } from "./parameters.ts";

/** What is masked in bodies. At least one of fields and keys is given. Texts have one character per byte. */
export interface BodyRules<Place> {
  /** Fields of forms, urlencoded and multipart. */
  readonly fields?: NameTest;
  readonly keys?: JsonKeys<Place>;
  readonly limit: LimitedMask;
}

/** Why a body to which the rules apply cannot be read. */
export const unreadableReasons = ["encoded", "ambiguous", "damaged", "truncated", "large"] as const;

type Unreadable = (typeof unreadableReasons)[number];

/** Largest body that is read: a larger one would delay the answers to HAProxy by milliseconds. */
const maxReadBytes = 1024 * 1024;

/** Most values that are masked in a body: with a key, each takes about 2 µs. */
const maxValues = 1_024;

const noName: NameTest = () => false;

/**
 * The body with its secrets masked, the same text if it has none, or the reason why that is not known. Bodies that are neither JSON
 * nor forms have no fields and are kept.
 */
export function maskBody<Place>(
  body: string,
  whole: boolean,
  facts: ContentFacts,
  rules: BodyRules<Place>,
): { readonly text: string } | { readonly unreadable: Unreadable } {
  const { limit } = rules;
  const kind = contentKindOf(body, facts);
  if (kind === "other") return { text: body };
  if (kind === "encoded" || kind === "ambiguous") return { unreadable: kind };
  if (!whole) return { unreadable: "truncated" };
  if (body.length > maxReadBytes) return { unreadable: "large" };
  limit.begin({ values: maxValues, chars: body.length });
  const text = kind === "multipart" ? maskParts(body, facts.types[0], rules) : maskText(body, kind, rules);
  // Encoding a value again may make it longer.
  if (limit.isSpent || (text !== undefined && text.length > maxReadBytes)) return { unreadable: "large" };
  return text === undefined ? { unreadable: "damaged" } : { text };
}

/** Undefined if the form is damaged, or if a part of it cannot be read. */
function maskParts<Place>(body: string, type: string, rules: BodyRules<Place>): string | undefined {
  const { fields = noName, limit } = rules;
  return maskMultipart(body, boundaryOf(type), {
    names: fields,
    mask: limit.mask,
    limit,
    content: (content, facts) => {
      const kind = contentKindOf(content, facts);
      if (kind === "other") return content;
      return kind === "json" || kind === "form" ? maskText(content, kind, rules) : undefined;
    },
  });
}

/** Undefined if the text is not the JSON that it should be. */
function maskText<Place>(text: string, kind: "json" | "form", rules: BodyRules<Place>): string | undefined {
  const { fields, keys, limit } = rules;
  // A body with a form's Content-Type may be JSON all the same, and the other way round.
  if (kind === "json" && keys) return toMaskedJson(text, keys, limit);
  return maskParameters(text, {
    names: fields ?? noName,
    mask: limit.mask,
    limit,
    ...(keys && { json: (value) => toMaskedJson(value, keys, limit) }),
  });
}

/** Undefined if the text is no JSON. */
function toMaskedJson<Place>(text: string, keys: JsonKeys<Place>, limit: LimitedMask): string | undefined {
  const masked = maskJson(text, { keys, mask: limit.mask, limit });
  return masked.brokenAt === undefined ? masked.text : undefined;
}
