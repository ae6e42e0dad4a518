import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { spoaRelay } from "../support/processes/command-line.ts";
import { freePorts } from "../support/servers/free-ports.ts";

describe("the demo", () => {
  it("shows its six cases and a ledger that adds up, and exits with 0", async () => {
    const { code, stdout } = await spoaRelay("demo", "--ports", String((await freePorts(8))[0]));
    expect(stdout).not.toContain("✗");
    for (const number of [1, 2, 3, 4, 5, 6]) expect(stdout).toMatch(new RegExp(`✓ {2}${number} `));
    expect(stdout).toContain("✓  the ledger");
    expect(code).toBe(0);
  }, 120_000);

  it("names a port that is taken and tells how to choose others", async () => {
    const [first] = await freePorts(8);
    const squatter = createServer().listen(first + 3, "127.0.0.1");
    const { code, stderr } = await spoaRelay("demo", "--ports", String(first));
    squatter.close();
    expect(stderr).toContain(`port ${first + 3} (shadow) is taken`);
    expect(stderr).toContain("--ports");
    expect(code).toBe(1);
  });
});
