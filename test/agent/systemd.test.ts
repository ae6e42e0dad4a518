import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { machineClock } from "../../relay/process/machine-clock.ts";
import { run } from "../support/processes/command-line.ts";

const units = resolve(import.meta.dirname, "../../agent/systemd");
const analyze = "systemd-analyze";
const missing = spawnSync(analyze, ["--version"]).error !== undefined;
if (missing) process.stderr.write("skipped: systemd-analyze is missing (Debian package systemd)\n");

// Of 100. The rest is the network, the file system and V8's compiler, which the units need.
const exposureMost = 15;

describe.skipIf(missing).for(["spoa-relay-agent.service", "spoa-relay-host.service"])("%s", (unit) => {
  it("passes systemd-analyze verify without a warning", async () => {
    expect(await run(analyze, "verify", withNode(unit))).toEqual({ code: 0, stdout: "", stderr: "" });
  });

  it("has an exposure level of 1.5 at most", async () => {
    const options = ["security", "--offline=true", "--no-pager", `--threshold=${exposureMost}`];
    const { code, stdout } = await run(analyze, ...options, withNode(unit));

    expect(stdout).toContain("Overall exposure level");
    expect(code).toBe(0);
  });

  it("writes no memory to a disk: neither core dumps nor swapped pages", () => {
    const settings = readFileSync(join(units, unit), "utf8");

    expect(settings).toMatch(/^LimitCORE=0$/m);
    expect(settings).toMatch(/^MemorySwapMax=0$/m);
    expect(settings).toMatch(/^MemoryMax=\d+[MG]$/m);
  });

  it("lets the process see when the machine was started again", () => {
    expect(machineClock.boot).toContain(readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
    expect(readFileSync(join(units, unit), "utf8")).not.toMatch(/^ProcSubset=pid/m);
  });

  it("lets V8 execute memory that it has written", () => {
    const settings = readFileSync(join(units, unit), "utf8").replace(/^#.*$/gm, "");

    expect(settings).not.toContain("MemoryDenyWriteExecute");
  });
});

/** A copy of the unit with the Node of these tests: `verify` checks that the program exists. */
function withNode(unit: string): string {
  const directory = mkdtempSync(join(tmpdir(), "spoa-relay-systemd-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, unit);
  writeFileSync(file, readFileSync(join(units, unit), "utf8").replace("/usr/bin/node", process.execPath));
  return file;
}
