/** How a shadow reacts: with 200, with 500, with 503 and Retry-After, without an answer, or by refusing connections. */
export type Mood = "answers" | "fails" | "busy" | "hangs" | "refuses";

/** The start of each mood as a share of the whole time. Each `answers` is long enough to catch up. */
const timetable: readonly (readonly [from: number, mood: Mood])[] = [
  [0, "answers"],
  [0.15, "fails"],
  [0.25, "busy"],
  [0.33, "answers"],
  [0.45, "hangs"],
  [0.53, "answers"],
  [0.62, "refuses"],
  [0.7, "answers"],
];

/** @param elapsed share of the whole time, 0 to 1 */
export function moodAt(elapsed: number): Mood {
  return timetable.findLast(([from]) => elapsed >= from)?.[1] ?? "answers";
}
