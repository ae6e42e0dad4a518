import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { AckLatency, ackBoundsMs } from "../../agent/ack-latency.ts";
import { EventLoopDelay } from "../../agent/event-loop-delay.ts";
import { addTo, createLedger } from "../../agent/ledger.ts";
import { type AgentVitals, createAgentMetrics } from "../../agent/metrics.ts";
import { toAgentStats } from "../../agent/stats.ts";
import { until } from "../support/clocks/until.ts";
import { promtool } from "../support/processes/promtool.ts";

describe("metrics of an agent", () => {
  it("have every fate from the start, so that the first loss is an increase", async () => {
    const text = await scrape();

    expect(text).toContain('spoa_relay_agent_requests_total{fate="dropped",reason="buffer full"} 0\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="unusable",reason="no method"} 0\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="upgrade",reason=""} 0\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="unreplayable",reason="OPTIONS *"} 0\n');
    expect(text).toContain('spoa_relay_agent_queue_errors_total{code="DENIED"} 0\n');
  });

  it("have the ledger's counts, and their fates add up to the seen requests without the pending ones", async () => {
    const ledger = createLedger();
    Object.assign(ledger, { seen: 112, sampledOut: 1, filtered: 2, looped: 3, upgrade: 5, pending: 4, enqueued: 60 });
    addTo(ledger.unreplayable, "CONNECT", 7);
    addTo(ledger.unusable, "no path", 10);
    addTo(ledger.dropped, "journal full", 20);
    const text = await scrape({ ledger });

    const fates = [...text.matchAll(/^spoa_relay_agent_requests_total\{.*\} (\d+)$/gm)].map(([, count]) => +count);
    expect(fates.reduce((sum, count) => sum + count)).toBe(108);
    expect(text).toContain('spoa_relay_agent_requests_total{fate="sampled_out",reason=""} 1\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="filtered",reason=""} 2\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="looped",reason=""} 3\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="enqueued",reason=""} 60\n');
    expect(text).toContain('spoa_relay_agent_requests_total{fate="dropped",reason="journal full"} 20\n');
    expect(text).toContain("spoa_relay_agent_requests_seen_total 112\n");
    expect(text).toContain("spoa_relay_agent_pending_requests 4\n");
  });

  it("have no journal_up without a journal", async () => {
    const without = await scrape({ vitals: { journal: undefined } });

    expect(without).not.toMatch(/^spoa_relay_agent_journal_up /m);
    expect(await scrape()).toMatch(/^spoa_relay_agent_journal_up 0$/m);
  });

  it("pass promtool's check", async () => {
    const latency = new AckLatency();
    latency.observe(0.2);

    expect(promtool(["check", "metrics"], await scrape({ latency }))).toEqual({ ok: true, output: "" });
  });
});

describe("the latency of ACKs", () => {
  it("is counted in the right buckets, for any times", async () => {
    const times = fc.array(fc.oneof(fc.constantFrom(...ackBoundsMs), fc.double({ min: 0, max: 200, noNaN: true })));
    await fc.assert(
      fc.asyncProperty(times, async (elapsed) => {
        const latency = new AckLatency();
        for (const ms of elapsed) latency.observe(ms);
        const text = await scrape({ latency });

        const buckets = [...text.matchAll(/^spoa_relay_agent_ack_seconds_bucket\{le="(.*)"\} (\d+)$/gm)];
        expect(buckets.map(([, le, count]) => [le, +count])).toEqual([
          ...ackBoundsMs.map((bound) => [String(bound / 1_000), elapsed.filter((ms) => ms <= bound).length]),
          ["+Inf", elapsed.length],
        ]);
        const sum = Number(/^spoa_relay_agent_ack_seconds_sum (.*)$/m.exec(text)?.[1]);
        expect(sum).toBeCloseTo(elapsed.reduce((total, ms) => total + ms, 0) / 1_000, 9);
      }),
      { numRuns: 50 },
    );
  });
});

describe("the delay of the event loop", () => {
  it("includes a blocked event loop since the last call, and not the sampling interval", async () => {
    const delay = new EventLoopDelay();
    onTestFinished(() => delay.stop());
    await sleep(50);
    delay.take();
    await sleep(50);
    for (const endMs = performance.now() + 200; performance.now() < endMs; );
    await sleep(50);
    const blocked = delay.take();

    expect(blocked.max).toBeGreaterThan(0.15);
    // A busy machine delays some calls, but not all. An old block, or a counted interval, would delay all of them.
    await until(async () => {
      await sleep(100);
      const { p50, max } = delay.take();
      return p50 < 0.009 && max < 0.15;
    });
  });
});

interface Scraped {
  readonly ledger?: ReturnType<typeof createLedger>;
  readonly vitals?: { readonly [Key in keyof AgentVitals]?: AgentVitals[Key] | undefined };
  readonly latency?: AckLatency;
}

async function scrape({ ledger = createLedger(), vitals = {}, latency = new AckLatency() }: Scraped = {}) {
  const eventLoopDelay = new EventLoopDelay();
  onTestFinished(() => eventLoopDelay.stop());
  const gauges = { packs: 1, packBytes: 2, connections: 3, waitingBytes: 4, journalBytes: 5, journalPacks: 6 };
  const ofAll = {
    ready: false,
    accepted: 9,
    refused: new Map([["no-hello", 1]]),
    frames: 7,
    heldBytes: 11,
    queueUp: false,
    queueErrors: new Map([
      ["UNAVAILABLE", 2],
      ["DENIED", 0],
    ]),
    journal: { up: false, maxBytes: 1024 },
    ...vitals,
  } as AgentVitals;
  const stats = () => toAgentStats("edge~1", "2026-01-01T00:00:00.000Z", ledger, gauges);
  return createAgentMetrics({ stats, vitals: () => ofAll, ackLatency: latency, eventLoopDelay }).metrics();
}
