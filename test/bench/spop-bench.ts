import { AgentProcess, droppedRequests } from "./agent-process.ts";
import { summarizeProfiles } from "./cpu-profile.ts";
import { type LoadResult, loadAgent } from "./spop-load.ts";
import type { Row } from "./table.ts";

const floodSeconds = 30;
const pacedSeconds = 5;

/** Measures the agent under a load generator that acts as HAProxy: at full speed, at a fixed rate, and without its queue. */
export async function benchSpop(): Promise<Row[]> {
  const rows: Row[] = [];
  const agent = await AgentProcess.start();
  const flood = await loadAgent({ port: agent.port, connections: 8, window: 32, seconds: floodSeconds });
  rows.push({ what: `flood, 8 × 32, ${floodSeconds} s`, value: await inWords(agent, flood) });
  await agent.stop();

  const paced = await AgentProcess.start();
  const rate = { connections: 8, window: 64, seconds: pacedSeconds, ratePerSecond: 20_000 };
  rows.push({ what: "20,000/s", value: await inWords(paced, await loadAgent({ port: paced.port, ...rate })) });
  await paced.stop();

  // Nothing listens on port 1: every pack is written to the journal and waits there.
  const outage = await AgentProcess.start({ queue: "http://127.0.0.1:1/000000000000/gone" });
  rows.push({
    what: "20,000/s, the queue is away",
    value: await inWords(outage, await loadAgent({ port: outage.port, ...rate })),
  });
  await outage.stop();
  return rows;
}

/** Profiles the agent's CPU time at full speed. */
export async function profileAgent(): Promise<Row[]> {
  const agent = await AgentProcess.start({ profile: true });
  await loadAgent({ port: agent.port, connections: 8, window: 32, seconds: pacedSeconds });
  return summarizeProfiles(await agent.stop());
}

async function inWords(agent: AgentProcess, { perSecond, p50Us, p99Us, p999Us }: LoadResult): Promise<string> {
  const { cpuMs, peakRssMb } = agent;
  const stats = await agent.stats();
  return [
    `${Math.round(perSecond).toLocaleString("en-US")} ACK/s`,
    `p50 ${p50Us} µs, p99 ${p99Us} µs, p99.9 ${p999Us} µs`,
    `${((cpuMs * 1_000) / stats.seen).toFixed(1)} µs CPU each`,
    `dropped ${droppedRequests(stats)} of ${stats.seen}`,
    `RSS ≤ ${peakRssMb} MB`,
  ].join("; ");
}
