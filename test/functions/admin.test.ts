import { describe, expect, it } from "vitest";
import { createAdmin } from "../../functions/admin.ts";
import type { HostStats, TargetStats } from "../../relay/host-stats.ts";
import { fates } from "../../relay/state/port.ts";
import { promtool, promtoolMissing } from "../support/promtool.ts";

const figures = { enqueued: 9, inQueue: 2, inDeadLetters: 3 };
const target = { ...figures, fates: Object.fromEntries(fates.map((fate, i) => [fate, i])) } as unknown as TargetStats;
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

  it("is 503 and says why while the ingress queue does not answer", async () => {
    const away = { ...stats, ingress: { deadLettered: 0, deadMessages: 0, problem: "no such host" } };

    expect(await answer(async () => away, "/readyz")).toEqual({
      status: 503,
      text: "the ingress queue does not answer: no such host\n",
    });
  });

  it("is 503 and says why while the state fails, though the process is healthy", async () => {
    const fails = () => Promise.reject(new Error("disk I/O error"));

    const { status, text } = await answer(fails, "/readyz");
    expect([status, text]).toEqual([503, "queues and state on this machine cannot be read: disk I/O error\n"]);
    expect((await answer(fails, "/healthz")).status).toBe(200);
  });
});

describe("metrics of a host", () => {
  it("read the figures once a scrape, and give the runs of an agent together", async () => {
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

  it("leave out what cannot be known", async () => {
    const away = { ...stats, ingress: { deadLettered: 0, deadMessages: 0, problem: "no such host" } };
    const { text } = await answer(async () => away, "/metrics");

    expect(text).toContain("spoa_relay_ingress_up 0\n");
    expect(text).not.toMatch(/^spoa_relay_ingress_waiting_packs /m);
  });

  it("say that the state fails, and nothing else of it", async () => {
    const { status, text } = await answer(() => Promise.reject(new Error("disk I/O error")), "/metrics");

    expect(status).toBe(200);
    expect(text).toContain("spoa_relay_host_state_up 0\n");
    expect(text).not.toMatch(/^spoa_relay_(?!host_state_up)/m);
  });

  it.skipIf(promtoolMissing)("content promtool", async () => {
    const { text } = await answer(async () => stats, "/metrics");

    expect(promtool(["check", "metrics"], text)).toEqual({ ok: true, output: "" });
  });
});
