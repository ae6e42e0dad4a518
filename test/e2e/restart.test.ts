import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addsUp } from "../../relay/stats/ledger-equations.ts";
import { until } from "../support/clocks/until.ts";
import { Rig } from "../support/processes/rig.ts";
import { type LoadResult, load } from "../support/servers/load.ts";

// Longest time of a request besides the wait for an agent: all processes share a machine that may be slow. A request
// that waited for an agent without a limit would take longer.
const noiseMs = 5_000;
let rig: Rig;

afterAll(async () => {
  await rig?.stop();
});

describe("under load, with two agents", () => {
  // Long enough that HAProxy gives no request up if the machine stalls for 1 or 2 s: any loss is caused by the
  // restarts.
  const processingMs = 4_000;
  beforeAll(() => start(processingMs));

  it("a reload of HAProxy disturbs no client, and at least 99.9 % of requests are mirrored", async () => {
    const seenBefore = await seen();
    const result = await underLoad(async () => {
      for (let reloads = 1; reloads <= 2; reloads++) {
        await sleep(500);
        const reloaded = workersStarted() + 1;
        rig.haproxy.reload();
        await until(() => workersStarted() === reloaded);
      }
      await sleep(500);
    });
    const mirrored = (await seen()) - seenBefore;
    report("two reloads of HAProxy", result, mirrored);
    expectUndisturbed(result, processingMs);
    expect(mirrored / result.sent).toBeGreaterThanOrEqual(0.999);
  }, 60_000);

  it("a restart of one agent after the other disturbs no client, and at least 99.9 % of requests are mirrored", async () => {
    await allUp();
    const seenBefore = await seen();
    const result = await underLoad(async () => {
      await sleep(500);
      for (const [index, agent] of rig.agents.entries()) {
        agent?.kill("SIGTERM");
        // Closed, not only ended: by then its final stats have been read.
        await once(agent as NonNullable<typeof agent>, "close");
        await rig.startAgent(index);
        await allUp();
      }
      await sleep(500);
    });
    const mirrored = (await seen()) - seenBefore;
    report("graceful restart of both agents", result, mirrored);
    expectUndisturbed(result, processingMs);
    expect(mirrored / result.sent).toBeGreaterThanOrEqual(0.999);
    expect(addsUp(await rig.settledLedger())).toBe(true);
  }, 120_000);
});

describe("under load, kill -9 of an agent", () => {
  const processingMs = 50;
  beforeAll(async () => {
    await rig?.stop();
    await start(processingMs);
  });

  it("disturbs no client", async () => {
    await allUp();
    const before = await seenByEach();
    let atDeath = before;
    let survivor = 0;
    const result = await underLoad(async () => {
      await sleep(500);
      atDeath = await seenByEach();
      // HAProxy prefers open connections, so it sends most requests to one of the agents.
      survivor = atDeath[0] - before[0] > atDeath[1] - before[1] ? 1 : 0;
      rig.agents[1 - survivor]?.kill("SIGKILL");
      await sleep(2_500);
    });
    const after = (await rig.agentStats(survivor)).seen - atDeath[survivor];
    report("kill -9 of the busier agent", result, sum(atDeath) - sum(before) + after);
    expectUndisturbed(result, processingMs);
  }, 60_000);
});

interface Outcome extends LoadResult {
  /** The longest time that HAProxy logged for any request. */
  readonly longestWaitMs: number;
}

async function start(processingMs: number): Promise<void> {
  rig = await Rig.start({
    targets: { shadow: "rate: unlimited, sample: 1%" },
    agents: 2,
    master: true,
    haproxy: { RELAY_PROCESSING_TIMEOUT: `${processingMs}ms`, RELAY_LOG_LEVEL: "info" },
  });
}

async function underLoad(during: () => Promise<unknown>): Promise<Outcome> {
  const loggedBefore = rig.output.length;
  const result = await load(rig.frontend, { perSecond: 1_000, connections: 16, during });
  const waits = rig.output.slice(loggedBefore).matchAll(/ mirror_ms=(\d+)/g);
  return { ...result, longestWaitMs: [...waits].reduce((longest, [, ms]) => Math.max(longest, Number(ms)), 0) };
}

function workersStarted(): number {
  return rig.output.match(/Loading success/g)?.length ?? 0;
}

async function allUp(): Promise<void> {
  await until(async () => (await rig.agentsUp()).length === rig.agents.length);
}

/** Requests that agents have seen, including ended runs. */
async function seen(): Promise<number> {
  return sum((await rig.allAgentStats()).map((stats) => stats.seen));
}

function seenByEach(): Promise<number[]> {
  return Promise.all(rig.agents.map(async (_, index) => (await rig.agentStats(index)).seen));
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function expectUndisturbed({ errors, timesMs, longestWaitMs }: Outcome, processingMs: number): void {
  expect(errors).toEqual([]);
  expect(timesMs.at(-1)).toBeLessThan(processingMs + noiseMs);
  expect(longestWaitMs).toBeLessThan(processingMs + noiseMs);
}

function report(title: string, { sent, errors, timesMs, longestWaitMs }: Outcome, mirrored: number): void {
  const share = ((100 * mirrored) / sent).toFixed(2);
  process.stdout.write(
    `  ${title}: ${sent} sent, ${errors.length} errors, ${mirrored} seen by agents (${share} %), slowest ` +
      `${timesMs.at(-1)?.toFixed(0)} ms, longest wait for an agent ${longestWaitMs} ms\n`,
  );
}
