import { expect, it } from "vitest";
import { CurrentWarnings } from "../../agent/current-warnings.ts";

const minuteMs = 60_000;

it("is new once, and current until ten minutes after it was seen last", () => {
  const warnings = new CurrentWarnings();

  expect(warnings.note("a", 0)).toBe(true);
  expect(warnings.note("b", minuteMs)).toBe(true);
  expect(warnings.note("a", 5 * minuteMs)).toBe(false);

  expect(warnings.at(11 * minuteMs)).toEqual(["a", "b"]);
  expect(warnings.at(11 * minuteMs + 1)).toEqual(["a"]);
  expect(warnings.at(15 * minuteMs + 1)).toEqual([]);
  expect(warnings.note("a", 20 * minuteMs)).toBe(false);
  expect(warnings.at(20 * minuteMs)).toEqual(["a"]);
});
