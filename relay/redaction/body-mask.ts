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

const beginsAsJson = /^[ \t\r\n]{0,1000}[[{]/;

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
  const { fields, limit } = rules;
  const kind = contentKindOf(body, facts);
  if (kind === "other") return { text: body };
  if (kind === "encoded" || kind === "ambiguous") return { unreadable: kind };
  if (kind === "form" && !fields) return { text: body };
  if (!whole) return { unreadable: "truncated" };
  if (body.length > maxReadBytes) return { unreadable: "large" };
  limit.begin({ values: maxValues, chars: body.length });
  const text = toMasked(body, kind, facts, rules);
  // Encoding a value again may make it longer.
  if (limit.isSpent || (text !== undefined && text.length > maxReadBytes)) return { unreadable: "large" };
  return text === undefined ? { unreadable: "damaged" } : { text };
}

/** Undefined if the text is not what its kind says. */
function toMasked<Place>(
  body: string,
  kind: "json" | "form" | "multipart",
  facts: ContentFacts,
  { fields, keys, limit }: BodyRules<Place>,
): string | undefined {
  const { mask } = limit;
  if (kind === "multipart") {
    return maskMultipart(body, boundaryOf(facts.types[0]), {
      names: fields ?? (() => false),
      mask,
      limit,
      content: (content) => (keys && beginsAsJson.test(content) ? toMaskedJson(content, keys, limit) : content),
    });
  }
  // A body with a form's Content-Type may be JSON all the same, and the other way round.
  if (kind === "form" || !keys) return fields ? maskParameters(body, { names: fields, mask, limit }) : body;
  return toMaskedJson(body, keys, limit);
}

/** Undefined if the text is no JSON. */
function toMaskedJson<Place>(text: string, keys: JsonKeys<Place>, limit: LimitedMask): string | undefined {
  const masked = maskJson(text, { keys, mask: limit.mask, limit });
  return masked.brokenAt === undefined ? masked.text : undefined;
}
