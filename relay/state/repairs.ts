import { z } from "zod";
import { type Bounds, toNearest } from "../config/bounds.ts";

// What an older version left in the state, or a person, may be out of bounds. It is read as the nearest number that is allowed, or
// as unset: a number in the state can stop no process.

/** A number in the state: the nearest one that is allowed if it is out of bounds. */
export function stored(within: Bounds) {
  return z.preprocess((value) => (typeof value === "number" ? toNearest(value, within) : value), z.number());
}

/** The same for a whole number; a fraction is cut off. */
export function storedCount(within: Bounds) {
  return z.preprocess((value) => (typeof value === "number" ? Math.trunc(toNearest(value, within)) : value), z.int());
}

/**
 * What was read in another way than it is stored, for a warning: `settings.ratePerSecond is 1e+300, read as 1000000`. Empty if
 * all is as it was stored.
 */
export function findRepairs(value: unknown, read: unknown, path = ""): readonly string[] {
  if (Object.is(value, read)) return [];
  if (isObject(value) && isObject(read)) {
    return Object.entries(value).flatMap(([key, each]) => findRepairs(each, read[key], path ? `${path}.${key}` : key));
  }
  const what = path === "" ? "it" : path;
  const text = typeof value === "number" ? `${value}` : (JSON.stringify(value) ?? `${value}`).slice(0, maxShown);
  return [`${what} is ${text}, ${read === undefined ? "ignored" : `read as ${JSON.stringify(read)}`}`];
}

const maxShown = 80;

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
