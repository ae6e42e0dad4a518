import { expect, it } from "vitest";
import { describeWholeFlaw } from "../../../agent/intake/whole-flaw.ts";

it("names the line that says whether a body is whole, on the request and on the response", () => {
  for (const flaw of ["missing", "not a boolean"] as const) {
    expect(describeWholeFlaw(flaw, false)).toMatch(/: in spoe-message write args whole=internal\.htx\.has_eom$/);
    expect(describeWholeFlaw(flaw, true)).toMatch(
      /args whole=var\(txn\.mirror\.whole\), .*set-var\(txn\.mirror\.whole\)/,
    );
  }
});
