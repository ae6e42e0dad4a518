import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { run } from "../support/processes/command-line.ts";

const units = resolve(import.meta.dirname, "../../agent/systemd");
const analyze = "systemd-analyze";
const missing = spawnSync(analyze, ["--version"]).error !== undefined;
if (missing) process.stderr.write("skipped: systemd-analyze is missing (Debian package systemd)\n");

// Of 100; the network, the file system it is on and V8's compiler are what is left.
const exposureMost = 15;

describe.skipIf(missing).for(["spoa-relay-agent.service", "spoa-relay-host.service"])("%s", (unit) => {
  it("is understood by systemd, every line of it", async () => {
    expect(await run(analyze, "verify", withNode(unit))).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("leaves little exposed", async () => {
    const options = ["security", "--offline=true", "--no-pager", `--threshold=${exposureMost}`];
    const { code, stdout } = await run(analyze, ...options, withNode(unit));

    expect(stdout).toContain("Overall exposure level");
    expect(code).toBe(0);
  });

  it("leaves V8 the memory that it compiles into", () => {
    const settings = readFileSync(join(units, unit), "utf8").replace(/^#.*$/gm, "");

    expect(settings).not.toContain("MemoryDenyWriteExecute");
  });
});

/** A copy that runs the Node of these tests, for `verify` looks whether the program is there. */
function withNode(unit: string): string {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-systemd-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, unit);
  writeFileSync(file, readFileSync(join(units, unit), "utf8").replace("/usr/bin/node", process.execPath));
  return file;
}
