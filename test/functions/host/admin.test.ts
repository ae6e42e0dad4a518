import { describe, expect, it } from "vitest";
import { createAdmin } from "../../../functions/host/admin.ts";
import { fates, StateError } from "../../../relay/state/port.ts";
import type { HostStats, TargetStats } from "../../../relay/stats/host-stats.ts";
import { promtool } from "../../support/processes/promtool.ts";

const target: TargetStats = {
  enqueued: 9,
  messages: 1,
  inQueue: 2,
  deadMessages: 1,
  inDeadLetters: 3,
  fates: Object.fromEntries(fates.map((fate, i) => [fate, i])) as TargetStats["fates"],
  control: {},
  live: { ratePerSecond: 200, concurrency: 64, sample: 1, paceFactor: 1 },
};
const noFates = Object.fromEntries(fates.map((fate) => [fate, 0])) as TargetStats["fates"];
const stats: HostStats = {
  ingress: { messages: 5, waiting: 700, deadLettered: 2, deadMessages: 1, expired: 4 },
  agents: [
    { agent: "edge~1", requests: 10, packs: 2, missingPacks: 3 },
    { agent: "edge~2", requests: 10, packs: 2, missingPacks: 1 },
  ],
  targets: { staging: target },
};
const answer = async (readStats: () => Promise<HostStats>, path: string) => {
  const response = await createAdmin(readStats).request(path);
  return { status: response.status, text: await response.text() };
};

describe("/readyz of a host", () => {
  it("is 200 while queues and state can be read", async () => {
    expect(await answer(async () => stats, "/readyz")).toEqual({ status: 200, text: "ready\n" });
  });

  it("is 503 with the reason while the ingress queue does not answer", async () => {
    const away = { ...stats, ingress: { deadLettered: 0, deadMessages: 0, problem: "no such host" } };

    expect(await answer(async () => away, "/readyz")).toEqual({
      status: 503,
      text: "the ingress queue does not answer: no such host\n",
    });
  });

  it("is 503 and names the target whose queue does not answer", async () => {
    const away = { ...stats, targets: { staging: target, next: { ...target, problem: "denied" } } };

    expect((await answer(async () => away, "/readyz")).text).toBe("the queue of target next does not answer: denied\n");
  });

  it("is 503 with the reason while the state fails, but /healthz stays 200", async () => {
    const fails = () => Promise.reject(new StateError("disk I/O error"));

    const { status, text } = await answer(fails, "/readyz");
    expect([status, text]).toEqual([503, "the queues and the state store cannot be read: disk I/O error\n"]);
    expect((await answer(fails, "/healthz")).status).toBe(200);
  });
});

describe("/v1/health", () => {
  it("answers like /readyz, as JSON", async () => {
    const fails = () => Promise.reject(new StateError("disk I/O error"));

    expect(await answer(async () => stats, "/v1/health")).toEqual({ status: 200, text: '{"ready":true}' });
    expect(await answer(fails, "/v1/health")).toEqual({
      status: 503,
      text: '{"ready":false,"reason":"the queues and the state store cannot be read: disk I/O error"}',
    });
  });
});

describe("/warnings of a host", () => {
  const { control: _, live: __, ...old } = target;

  it("has nothing to say while all requests have a target", async () => {
    expect(await answer(async () => stats, "/warnings")).toEqual({ status: 200, text: '{"warnings":[]}' });
  });

  it("names a target that is no longer in the configuration; the host is ready all the same", async () => {
    const readStats = async () => ({ ...stats, removed: { old } });
    const { status, text } = await answer(readStats, "/warnings");

    expect(status).toBe(200);
    expect(JSON.parse(text).warnings).toEqual([
      {
        target: "old",
        waiting: { messages: 1, requests: 2 },
        deadLetters: { messages: 1, requests: 3 },
        detail: expect.stringMatching(
          /^target old is no longer in the configuration: nobody .*\(waiting: 2, dead letters: 3\)/,
        ),
      },
    ]);
    expect(await answer(readStats, "/readyz")).toEqual({ status: 200, text: "ready\n" });
  });

  it("is 503 with the reason while the state fails", async () => {
    expect(await answer(() => Promise.reject(new StateError("disk I/O error")), "/warnings")).toEqual({
      status: 503,
      text: "disk I/O error\n",
    });
  });
});

describe("metrics of a host", () => {
  it("read the stats once a scrape, and add up the runs of an agent", async () => {
    let readings = 0;
    const { text } = await answer(async () => {
      readings++;
      return stats;
    }, "/metrics");

    expect(readings).toBe(1);
    expect(text).toContain('spoa_relay_missing_packs{agent="edge"} 4\n');
    expect(text).toContain('spoa_relay_target_requests_total{target="staging",fate="answered",class="5xx"} 6\n');
    expect(text).not.toContain("deadLettered");
  });

  it("add the runs of an agent that have ended", async () => {
    const ended = [
      { agent: "edge", runs: 9, packs: 80, requests: 800, missingPacks: 5 },
      { agent: "former agents", runs: 7, packs: 70, requests: 700, missingPacks: 2 },
    ];
    const { text } = await answer(async () => ({ ...stats, ended }), "/metrics");

    expect(text).toContain('spoa_relay_missing_packs{agent="edge"} 9\n');
    expect(text).toContain('spoa_relay_missing_packs{agent="former agents"} 2\n');
  });

  it("count the requests of captures by fate", async () => {
    const ofCapture = { ...noFates, captured: 7, filtered: 2 };
    const captures = { all: { enqueued: 10, fates: ofCapture } };
    const { text } = await answer(async () => ({ ...stats, captures }), "/metrics");

    expect(text).toContain('spoa_relay_capture_enqueued_requests_total{capture="all"} 10\n');
    expect(text).toContain('spoa_relay_capture_requests_total{capture="all",fate="captured"} 7\n');
    expect(text).toContain('spoa_relay_capture_requests_total{capture="all",fate="filtered"} 2\n');
    expect(text).toContain('spoa_relay_capture_waiting_requests{capture="all"} 1\n');
  });

  it("count the requests of all replay jobs together", async () => {
    const fates = { ...target.fates, "answered.2xx": 7, cancelled: 2, deadLettered: 1 };
    const jobs = { one: { enqueued: 10, packs: 1, fates }, two: { enqueued: 20, packs: 2, fates } };
    const { text } = await answer(async () => ({ ...stats, jobs }), "/metrics");

    expect(text).toContain("spoa_relay_job_fed_requests_total 30\n");
    expect(text).toContain('spoa_relay_job_requests_total{fate="answered",class="2xx"} 14\n');
    expect(text).toContain('spoa_relay_job_requests_total{fate="cancelled",class=""} 4\n');
    expect(text).not.toContain('target_requests_total{target="staging",fate="cancelled"');
  });

  it("leave out values that are unknown", async () => {
    const away = { ...stats, ingress: { deadLettered: 0, deadMessages: 0, problem: "no such host" } };
    const { text } = await answer(async () => away, "/metrics");

    expect(text).toContain("spoa_relay_ingress_up 0\n");
    expect(text).not.toMatch(/^spoa_relay_ingress_waiting_packs /m);
  });

  it("show whether a target is held, and the share of its rate after a slowdown", async () => {
    const control = { breaker: { openedAtMs: 1, probeAtMs: 2, probes: 0, reason: "refused" } };
    const live = { ...target.live, ratePerSecond: "unlimited", paceFactor: 0.25 } as const;
    const held = { ...target, control, live, held: "the breaker is open" };
    const { text } = await answer(async () => ({ ...stats, targets: { a: target, b: held } }), "/metrics");

    expect(valuesOf(text, "target_breaker_open")).toEqual({ a: "0", b: "1" });
    expect(valuesOf(text, "target_held")).toEqual({ a: "0", b: "1" });
    expect(valuesOf(text, "target_pace_factor")).toEqual({ a: "1", b: "0.25" });
    expect(valuesOf(text, "target_rate_limit")).toEqual({ a: "200", b: "+Inf" });
  });

  it("show what is left of a target that is no longer in the configuration", async () => {
    const { control: _, live: __, ...old } = target;
    const { text } = await answer(async () => ({ ...stats, removed: { old } }), "/metrics");

    expect(valuesOf(text, "target_removed")).toEqual({ old: "1" });
    expect(valuesOf(text, "target_held")).toEqual({ staging: "0", old: "1" });
    expect(valuesOf(text, "target_waiting_requests")).toEqual({ staging: "2", old: "2" });
    expect(valuesOf(text, "target_dead_letter_requests")).toEqual({ staging: "3", old: "3" });
    expect(valuesOf(text, "target_enqueued_requests_total")).toEqual({ staging: "9", old: "9" });
    expect(valuesOf(text, "target_rate_limit")).toEqual({ staging: "200" });
  });

  it("leave out requests if a queue counts only packs", async () => {
    const { inQueue: _, inDeadLetters: __, ...inSqs } = target;
    const { text } = await answer(async () => ({ ...stats, targets: { a: target, b: inSqs } }), "/metrics");

    expect(valuesOf(text, "target_waiting_packs")).toEqual({ a: "1", b: "1" });
    expect(valuesOf(text, "target_waiting_requests")).toEqual({ a: "2" });
    expect(valuesOf(text, "target_dead_letter_packs")).toEqual({ a: "1", b: "1" });
    expect(valuesOf(text, "target_dead_letter_requests")).toEqual({ a: "3" });
  });

  it("have no series but state_up 0 while the state fails", async () => {
    const { status, text } = await answer(() => Promise.reject(new Error("disk I/O error")), "/metrics");

    expect(status).toBe(200);
    expect(text).toContain("spoa_relay_host_state_up 0\n");
    expect(text).not.toMatch(/^spoa_relay_(?!host_state_up)/m);
  });

  it("pass promtool's check", async () => {
    const { text } = await answer(async () => stats, "/metrics");

    expect(promtool(["check", "metrics"], text)).toEqual({ ok: true, output: "" });
  });
});

/** A metric's values by target. */
function valuesOf(text: string, name: string): Readonly<Record<string, string>> {
  const samples = text.matchAll(new RegExp(`^spoa_relay_${name}\\{target="(\\w+)"\\} (.+)$`, "gm"));
  return Object.fromEntries(Array.from(samples, ([, target, value]) => [target, value]));
}
