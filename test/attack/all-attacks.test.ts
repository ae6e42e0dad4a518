import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { allAttacks } from "./all-attacks.ts";
import { Ground } from "./ground.ts";

describe("attacks", () => {
  it("have the names of their files, and say which promise they try to break", async () => {
    const attacks = await allAttacks();

    expect(attacks.length).toBeGreaterThan(0);
    for (const { promise } of attacks) expect(promise).not.toBe("");
  });
});

describe("the ground of an attack", () => {
  it("ends its processes together with their children", async () => {
    const ground = new Ground(import.meta.dirname);
    const shell = ground.own("sh", ["-c", "sleep 300 & echo child $!; wait"]);
    await shell.printed("child");
    const child = Number(/child (\d+)/.exec(shell.output)?.[1]);
    await ground.end();

    expect(shell.ended).toBe(true);
    expect(isRunning(child)).toBe(false);
    expect(() => ground.own("true", [])).toThrow("the attack is over");
  });

  it("says what a process printed last if it ends too early, or cannot be started", async () => {
    const ground = new Ground(import.meta.dirname);

    await expect(ground.own("sh", ["-c", "echo no; exit 3"]).printed("yes")).rejects.toThrow(/ended without yes: no/);
    await expect(ground.own("/nowhere", []).printed("yes")).rejects.toThrow(/ended without yes/);
    await ground.end();
  });
});

/** A process that was killed and not yet waited for by init counts as ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
