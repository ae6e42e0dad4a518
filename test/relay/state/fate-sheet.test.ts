import fc from "fast-check";
import { expect, it } from "vitest";
import { settledIndexes, widenSheet } from "../../../relay/state/fate-sheet.ts";

it("has a byte for each request of its pack once it is widened, and keeps its fates", () => {
  const sheet = fc.uint8Array({ max: 1, maxLength: 20 });
  fc.assert(
    fc.property(sheet, fc.nat(20), (sheet, requests) => {
      const widened = widenSheet(sheet, requests);

      expect(widened).toHaveLength(Math.max(sheet.length, requests));
      expect(settledIndexes(widened)).toEqual(settledIndexes(sheet));
    }),
  );
});
