import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "../../support/clocks/until.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { ChildScript } from "../../support/processes/child-script.ts";

describe("supervise", () => {
  it("runs its parts in their own processes and stops them", async () => {
    const rig = new Supervised(["steady", "other"]);
    await rig.happened("steady started", "other started");
    const pids = [rig.pidOf("steady"), rig.pidOf("other")];
    rig.signal("SIGTERM");

    expect(await rig.exitCode()).toBe(0);
    expect(new Set([...pids, rig.pid]).size).toBe(3);
    expect(rig.events().slice(2).sort()).toEqual(["other stopped", "steady stopped"]);
  });

  it("exits with the largest exit code of its parts", async () => {
    const rig = new Supervised(["steady", "slow"]);
    await rig.happened("steady started", "slow started");
    rig.signal("SIGINT");

    expect(await rig.exitCode()).toBe(5);
  });

  it("restarts a part that died, and leaves the other running", async () => {
    const rig = new Supervised(["steady", "victim"]);
    await rig.happened("steady started", "victim started");
    const [steady, victim] = [rig.pidOf("steady"), rig.pidOf("victim")];
    process.kill(victim, "SIGKILL");
    await until(() => rig.events().filter((event) => event === "victim started").length === 2);

    expect(rig.pidOf("victim")).not.toBe(victim);
    expect(rig.pidOf("steady")).toBe(steady);
    rig.signal("SIGTERM");
    expect(await rig.exitCode()).toBe(0);
    expect(rig.output()).toMatchObject([
      { event: "part-ended", part: "victim", signal: "SIGKILL", reason: "was ended by SIGKILL" },
      { event: "part-restarted", part: "victim", failures: 1 },
    ]);
  });

  it("stops all parts and exits if a part cannot start", async () => {
    const rig = new Supervised(["steady", "unable"]);

    expect(await rig.exitCode()).toBe(4);
    expect(rig.events().filter((event) => event === "unable started").length).toBe(1);
    expect(rig.output()).toMatchObject([{ event: "part-failed", part: "unable", code: 4 }]);
    expect(isRunning(rig.pidOf("steady"))).toBe(false);
  });

  it("kills a part that does not exit, and names it", async () => {
    const rig = new Supervised(["stuck"]);
    await rig.happened("stuck started");
    rig.signal("SIGTERM");

    expect(await rig.exitCode()).toBe(1);
    expect(isRunning(rig.pidOf("stuck"))).toBe(false);
    expect(rig.output()).toMatchObject([{ event: "part-killed", part: "stuck" }]);
  });

  it("does not take a part for failed that was told to stop while it started", async () => {
    const rig = new Supervised(["steady", "starting"]);
    await rig.happened("steady started", "starting started");
    rig.signal("SIGTERM");

    expect(await rig.exitCode()).toBe(0);
    expect(rig.output()).toEqual([]);
  });

  it("ends its parts at once after a second signal", async () => {
    const rig = new Supervised(["steady", "stubborn"]);
    await rig.happened("steady started", "stubborn started");
    rig.signal("SIGTERM");
    await rig.happened("steady stopped", "stubborn asked");
    // Within half a second it would count as the first one.
    await until(() => {
      rig.signal("SIGINT");
      return rig.output().length > 0;
    });

    expect(await rig.exitCode()).toBe(1);
    expect(isRunning(rig.pidOf("stubborn"))).toBe(false);
    expect(rig.output()).toMatchObject([{ event: "forced" }, { event: "part-killed", part: "stubborn" }]);
  });

  it("stops its parts if it is killed", async () => {
    const rig = new Supervised(["steady", "other"]);
    await rig.happened("steady started", "other started");
    rig.signal("SIGKILL");
    await rig.happened("steady stopped", "other stopped");

    expect(rig.events().length).toBe(4);
  });
});

/** The supervisor in its own process, with the parts of supervised-process.ts. */
class Supervised {
  readonly #journal = join(temporaryDirectory(), "journal");
  readonly #script: ChildScript;

  constructor(names: readonly string[]) {
    this.#script = new ChildScript("supervised-process.ts", ["supervise", this.#journal, ...names]);
    onTestFinished(async () => {
      await this.#script.kill();
      for (const [, , pid] of this.#lines()) if (isRunning(Number(pid))) process.kill(Number(pid), "SIGKILL");
    });
  }

  get pid(): number | undefined {
    return this.#script.process.pid;
  }

  signal(name: NodeJS.Signals): void {
    this.#script.process.kill(name);
  }

  async exitCode(): Promise<number | null> {
    await this.#script.exited();
    return this.#script.process.exitCode;
  }

  /** Events that the parts have written, such as `steady started`. */
  events(): readonly string[] {
    return this.#lines().map(([name, event]) => `${name} ${event}`);
  }

  async happened(...events: readonly string[]): Promise<void> {
    await until(() => events.every((event) => this.events().includes(event)));
  }

  /** Process id of the part's latest process. */
  pidOf(name: string): number {
    return Number(this.#lines().findLast(([each]) => each === name)?.[2]);
  }

  output(): readonly unknown[] {
    return this.#script.lines.map((line) => JSON.parse(line));
  }

  #lines(): readonly string[][] {
    if (!existsSync(this.#journal)) return [];
    const lines = readFileSync(this.#journal, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => line.split(" "));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
