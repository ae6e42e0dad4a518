export type JsonObject = Readonly<Record<string, unknown>>;

/** The value if it is an object; else one without fields, so that what is missing is found where it is used. */
export function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** The objects of an array; none for anything else. */
export function objectsOf(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.map(asObject) : [];
}

/** A text, or an empty one for anything else. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A whole number from 0 on; undefined for anything else. */
export function countOf(value: unknown): number | undefined {
  if (typeof value !== "number" || !(value >= 0)) return undefined;
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined;
}
