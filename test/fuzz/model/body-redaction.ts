import { contentKindOf } from "./content-kind.ts";
import { maskJson } from "./json-text.ts";
import { Mask } from "./mask.ts";
import { maskMultipart } from "./multipart-form.ts";
import { isNamedBy } from "./name-pattern.ts";
import { maskParameters } from "./parameters.ts";
import type { ModelRules } from "./rules.ts";

export type OmitReason = "rule" | "encoded" | "ambiguous" | "damaged" | "truncated";

/** The body as it is to be stored, or why it is left out. */
export type RedactedBody = { readonly text: string } | { readonly omitted: OmitReason };

export interface BodyFacts {
  readonly path: string;
  readonly types: readonly string[];
  readonly encodings: readonly string[];
  readonly isComplete: boolean;
}

/** What becomes of a body. Throws `Unspecified`. */
export function redactBody(body: string, facts: BodyFacts, rules: ModelRules): RedactedBody {
  if (body === "") return { text: body };
  if (rules.dropBodies.some((rule) => isDropped(rule, facts))) return { omitted: "rule" };
  if (rules.form.length + rules.json.length === 0) return { text: body };
  const kind = contentKindOf(body, facts.types, facts.encodings);
  if (kind === "other") return { text: body };
  if (kind === "encoded" || kind === "ambiguous") return { omitted: kind };
  if (!facts.isComplete) return { omitted: "truncated" };
  const mask = Mask.ofBody(rules);
  const text =
    kind === "multipart"
      ? maskMultipart(body, facts.types[0], {
          names: rules.form,
          mask,
          content: (content, types) => maskPart(content, types, rules, mask),
        })
      : maskText(body, kind, rules, mask);
  mask.assertLimits([body]);
  if (text !== undefined) mask.assertLimits([text]);
  return text === undefined ? { omitted: "damaged" } : { text };
}

function maskPart(content: string, types: readonly string[], rules: ModelRules, mask: Mask): string | undefined {
  const kind = contentKindOf(content, types, []);
  if (kind === "other") return content;
  return kind === "json" || kind === "form" ? maskText(content, kind, rules, mask) : undefined;
}

function maskText(text: string, kind: "json" | "form", rules: ModelRules, mask: Mask): string | undefined {
  const { form, json } = rules;
  if (kind === "json" && json.length > 0) return maskJson(text, json, mask);
  const inField = (value: string) => maskJson(value, json, mask);
  return maskParameters(text, { names: form, mask, ...(json.length > 0 && { json: inField }) });
}

function isDropped({ path, type }: ModelRules["dropBodies"][number], facts: BodyFacts): boolean {
  const [bare] = facts.path.split(/[?#]/);
  const isOfType = type === undefined || facts.types.some((each) => isNamedBy([type], each.split(";")[0].trim()));
  if (path === undefined || !isOfType) return isOfType;
  return isNamedBy([path], bare) || isNamedBy([path], understood(bare));
}

/** The path as servers understand it: without escapes, parameters, and segments that are empty or dots. */
function understood(path: string): string {
  const unescaped = path.replace(/%[0-9a-fA-F]{2}/g, (code) => Buffer.from(code.slice(1), "hex").toString("latin1"));
  const kept: string[] = [];
  for (const segment of unescaped.replaceAll("\\", "/").split("/")) {
    const name = segment.replace(/;.*$/s, "");
    if (name === "..") kept.pop();
    else if (name !== "" && name !== ".") kept.push(name);
  }
  return `/${kept.join("/")}`;
}
