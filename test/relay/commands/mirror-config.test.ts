import { expect, it } from "vitest";
import { parseRuntimeMs } from "../../../relay/commands/mirror-config.ts";

it.each([
  ["0", 0],
  ["1500", 1_500],
  ["30s", 30_000],
  ["1h", 3_600_000],
  ["soon", undefined],
])("reads the running time as spoa-mirror does: %s", (text, runtimeMs) => {
  expect(parseRuntimeMs(text)).toBe(runtimeMs);
});
