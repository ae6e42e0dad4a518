import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { Pool } from "undici";
import { afterEach, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Rig } from "../support/processes/rig.ts";
import { load } from "../support/servers/load.ts";

let rig: Rig;

afterEach(async () => {
  await rig?.stop();
});

describe("an agent with two workers", () => {
  it("shares one address, and its ledger adds them up", async () => {
    rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, agent: "  workers: 2" });
    await send(2_000);
    expect(addsUp(await rig.settledLedger())).toBe(true);
    const { seen, enqueued, runs } = await rig.agentStats();
    expect({ seen, enqueued, runs: runs.length }).toEqual({ seen: 2_000, enqueued: 2_000, runs: 2 });
    expect(rig.shadows.shadow.received.length).toBe(2_000);
    // Both workers have captured requests.
    const { agents } = await rig.hostStats();
    expect(agents.map(({ requests }) => requests > 0)).toEqual([true, true]);
  }, 90_000);

  it("restarts a killed worker, keeps its counts, and has both workers in the metrics", async () => {
    rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, agent: "  workers: 2" });
    await send(500);
    await rig.settledLedger();
    const [victim] = workersOf(rig);
    process.kill(victim, "SIGKILL");
    await until(() => rig.output.includes('"event":"worker-ended"'));
    await until(async () => workersOf(rig).length === 2 && (await rig.agentStats()).runs.length === 3);
    // A health check may have reached the killed worker.
    await until(async () => (await rig.agentsUp()).length === 1);
    await send(500);
    const ledger = await rig.settledLedger();
    expect(addsUp(ledger)).toBe(true);
    expect((await rig.agentStats()).seen).toBe(1_000);
    const metrics = await (await fetch(`${rig.agentAdmin}/metrics`)).text();
    for (const worker of [1, 2])
      expect(metrics).toMatch(new RegExp(`spoa_relay_agent_ready\\{.*worker="${worker}"\\} 1`));
  }, 90_000);

  it.each([
    ["without a journal", ""],
    ["with a journal", "\n  journal: { directory: ./journal }"],
  ])(
    "has a ledger that adds up if a worker is killed under load, %s",
    async (_, journal) => {
      rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, agent: `  workers: 2${journal}` });
      const deadRuns = async () => (await rig.agentStats()).died?.runs.length;
      await load(rig.frontend, {
        perSecond: 400,
        connections: 16,
        during: async () => {
          // Wait for traffic, so that the last report of the killed worker is out of date.
          await until(async () => (await rig.agentStats()).enqueued > 300);
          process.kill(workersOf(rig)[0], "SIGKILL");
          await until(async () => (await deadRuns()) === 1);
          await until(async () => (await rig.agentReadiness()) === "ready\n");
        },
      });
      const ledger = await rig.settledLedger();
      expect(addsUp(ledger), JSON.stringify(ledger)).toBe(true);
      const { dropped, died: dead } = await rig.agentStats();
      const metrics = await (await fetch(`${rig.agentAdmin}/metrics?of=workers`)).text();
      const lost = dropped["worker died"] ?? 0;
      expect(metrics).toContain(`{fate="dropped",reason="worker died",worker="0"} ${lost}\n`);
      if (journal === "") expect(dead?.leftInJournal).toBe(0);
      else expect(lost).toBe(0);
    },
    90_000,
  );

  it("stops in order at SIGHUP if it has no certificates to reload", async () => {
    rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, agent: "  workers: 2\n  drain: 200ms" });
    await send(100);
    const agent = rig.agent as NonNullable<typeof rig.agent>;
    for (const pid of [...workersOf(rig), agent.pid as number]) process.kill(pid, "SIGHUP");
    expect((await once(agent, "close"))[0], rig.output.slice(-3000)).toBe(0);
    await until(() => rig.shadows.shadow.received.length === 100);
  }, 90_000);

  it("drains both workers at SIGTERM and exits with 0", async () => {
    rig = await Rig.start({ targets: { shadow: "rate: unlimited" }, agent: "  workers: 2\n  drain: 200ms" });
    await send(300);
    const agent = rig.agent as NonNullable<typeof rig.agent>;
    const workers = workersOf(rig);
    // Terminals and systemd also send the signal to all processes.
    for (const pid of [...workers, agent.pid as number]) process.kill(pid, "SIGTERM");
    // Closed, not only ended: by then their last output has been read.
    const [code] = await once(agent, "close");
    expect(code, rig.output.slice(-3000)).toBe(0);
    expect(rig.output.match(/"event":"stopped","agent"/g)?.length).toBe(2);
    await until(() => rig.shadows.shadow.received.length === 300);
  }, 90_000);
});

async function send(count: number): Promise<void> {
  const pool = new Pool(rig.frontend, { connections: 40 });
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const { body } = await pool.request({ method: "GET", path: `/api/v1/workers/${i}` });
      await body.dump();
    }),
  );
  await pool.close();
}

function workersOf({ agent }: Rig): number[] {
  return execFileSync("ps", ["-o", "pid=", "--ppid", String(agent?.pid)], { encoding: "utf8" })
    .split("\n")
    .flatMap((line) => (line.trim() === "" ? [] : [Number(line)]));
}
