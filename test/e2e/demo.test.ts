import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { type CommandResult, spoaRelay } from "../support/processes/command-line.ts";
import { haproxyProgram } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("the demo", () => {
  it("shows its six cases and a ledger that adds up, and exits with 0", async () => {
    const { code, stdout } = await runDemo();
    expect(stdout).not.toContain("✗");
    for (const number of [1, 2, 3, 4, 5, 6]) expect(stdout).toMatch(new RegExp(`✓ {2}${number} `));
    expect(stdout).toContain("✓  the ledger");
    expect(code).toBe(0);
  }, 120_000);

  it("counts what HAProxy leaves out, and names the reason", async () => {
    // Opening a connection to the agent takes longer than this: the first requests over it are never sent.
    const { code, stdout } = await runDemo({ RELAY_PROCESSING_TIMEOUT: "1ms" });
    const line = /(\d) {2}.* (\d+) (?:mirrored|arrived|of 20 arrived)(?:, (\d+) left out by HAProxy)?/g;
    const cases = Array.from(stdout.matchAll(line), (found) => found.slice(1).map((digits = "0") => Number(digits)));
    const total = cases.reduce((sum, [, , leftOut]) => sum + leftOut, 0);
    expect(total).toBeGreaterThan(0);
    const sent = Object.fromEntries(cases.map(([number, arrived, leftOut]) => [number, arrived + leftOut]));
    expect(sent).toMatchObject({ 1: 10, 4: 0, 5: 20, 6: 300 });
    expect(stdout).toContain("✓  the ledger");
    expect(stdout).toContain(`HAProxy left out ${total} of `);
    expect(stdout).toContain(`${total} × mirror_err=1: the agent did not answer within \`timeout processing\``);
    expect(code).toBe(stdout.includes("✗") ? 1 : 0);
  }, 120_000);

  it("exits with 1 and names the reason if HAProxy leaves everything out", async () => {
    const [unused] = await freePorts(1);
    const { code, stdout } = await runDemo({ RELAY_AGENT: `127.0.0.1:${unused}` });
    expect(stdout).toMatch(/✗ {2}6 {2}300 at once into 50\/s: 0 arrived, 300 left out by HAProxy/);
    expect(stdout).toMatch(/HAProxy left out (\d+) of \1 requests/);
    expect(stdout).toMatch(/\d+ × mirror_err=(2|257): no agent was up/);
    expect(code).toBe(1);
  }, 120_000);

  it("names a port that is taken and says how to choose others", async () => {
    const [first] = await freePorts(8);
    const squatter = createServer().listen(first + 3, "127.0.0.1");
    const { code, stderr } = await spoaRelay("demo", "--ports", String(first));
    squatter.close();
    expect(stderr).toContain(`port ${first + 3} (shadow) is taken`);
    expect(stderr).toContain("--ports");
    expect(code).toBe(1);
  });
});

/** Runs the demo with the HAProxy under test, with these values for the variables of its configuration. */
async function runDemo(variables: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  const directory = temporaryDirectory();
  const exports = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`);
  const script = `#!/bin/sh\n${exports.join("")}exec '${haproxyProgram()}' "$@"\n`;
  writeFileSync(join(directory, "haproxy"), script, { mode: 0o755 });
  vi.stubEnv("PATH", `${directory}:${process.env.PATH}`);
  return spoaRelay("demo", "--ports", String((await freePorts(8))[0]));
}
