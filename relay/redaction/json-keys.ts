import { createNameTest, type NameTest } from "./name-patterns.ts";

/** Decides by the keys that lead to a value whether it is masked. Lists are no step: their elements are where the list is. */
export interface JsonKeys<Place> {
  readonly root: Place;
  /** The place behind a key, with one character per byte; undefined if the value there is masked. */
  enter(place: Place, key: string): Place | undefined;
}

/** One step of a path: any number of keys, or one key. */
type Step = "**" | NameTest;

/** The steps of the paths that can come next. */
export interface PathPlace {
  readonly positions: readonly number[];
  /** What is behind the keys that were met here. */
  readonly known: Map<string, PathPlace | undefined>;
}

// Documents of one service have the same keys. The limits keep hostile clients from filling the memory with made-up ones.
const maxKnown = 4_000;
const maxKnownChars = 64;

/**
 * Splits a path such as `$.user.password` or `**.token` into its steps; undefined if it is none. `$` is the whole document, `*` in
 * a step stands for any characters, and `**` for any number of keys.
 */
export function parseJsonPath(text: string): readonly string[] | undefined {
  const steps = text.replaceAll("[*]", "").split(".");
  if (steps[0] === "$") steps.shift();
  else if (steps[0] !== "**") return undefined;
  const right = steps.length > 0 && steps.length <= 32 && steps.at(-1) !== "**";
  return right && steps.every((step) => step === "**" || (step !== "" && !/\*\*|[[\]"'$]/.test(step)))
    ? steps
    : undefined;
}

/** The values at the given paths, each from `parseJsonPath`. */
export function createJsonPaths(paths: readonly (readonly string[])[]): JsonKeys<PathPlace> {
  const steps: Step[] = [];
  const ends = new Set<number>();
  const first: number[] = [];
  for (const path of paths) {
    const start = steps.length;
    for (const step of path) steps.push(step === "**" ? step : createNameTest([step]));
    ends.add(steps.length - 1);
    addPosition(first, start, steps);
  }
  const root: PathPlace = { positions: first, known: new Map() };
  let known = 0;
  return {
    root,
    enter(place, key) {
      const before = place.known.get(key);
      if (before || place.known.has(key)) return before;
      const positions = nextPositions(place.positions, key, steps, ends);
      const same =
        positions?.length === place.positions.length && positions.every((at, i) => at === place.positions[i]);
      // Deep documents share one place instead of having one for each level.
      const next = same ? place : positions && { positions, known: new Map() };
      if (key.length > maxKnownChars) return next;
      if (++known > maxKnown) {
        root.known.clear();
        known = 0;
      } else place.known.set(key, next);
      return next;
    },
  };
}

/** Undefined if a path ends with this key. */
function nextPositions(
  positions: readonly number[],
  key: string,
  steps: readonly Step[],
  ends: ReadonlySet<number>,
): number[] | undefined {
  const next: number[] = [];
  for (const position of positions) {
    const step = steps[position];
    if (step === "**") addPosition(next, position, steps);
    else if (step(key)) {
      if (ends.has(position)) return undefined;
      addPosition(next, position + 1, steps);
    }
  }
  return next;
}

/** Adds a step and, since `**` may also stand for no key at all, those that can come in its place. */
function addPosition(positions: number[], position: number, steps: readonly Step[]): void {
  for (let at = position; ; at++) {
    if (!positions.includes(at)) positions.push(at);
    if (steps[at] !== "**") return;
  }
}

/** The values of keys with these names, at any depth. */
export function createJsonNames(names: NameTest): JsonKeys<true> {
  return { root: true, enter: (_, key) => (names(key) ? undefined : true) };
}
