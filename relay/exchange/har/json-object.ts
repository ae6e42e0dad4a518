export type JsonObject = Readonly<Record<string, unknown>>;

/** Returns the value if it is an object, else an empty object: the code that reads a field handles the missing one. */
export function asObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** The elements of an array as objects; empty if the value is not an array. */
export function objectsOf(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.map(asObject) : [];
}

/** The value if it is a string, else the empty string. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** The value rounded to a whole number; undefined if it is not a number or below 0. */
export function countOf(value: unknown): number | undefined {
  if (typeof value !== "number" || !(value >= 0)) return undefined;
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined;
}
