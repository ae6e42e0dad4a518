import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { parse } from "yaml";
import { AckLatency } from "../../agent/ack-latency.ts";
import { EventLoopDelay } from "../../agent/event-loop-delay.ts";
import { createLedger } from "../../agent/ledger.ts";
import { type AgentVitals, createAgentMetrics } from "../../agent/metrics.ts";
import { type AgentGauges, toAgentStats } from "../../agent/stats.ts";
import { createHostMetrics } from "../../functions/host/metrics.ts";
import { readDocument, root, sectionOf } from "../support/data/documents.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { promtool } from "../support/processes/promtool.ts";

const file = join(root, "agent/prometheus/alerts.yaml");

/** Series by name and labels: a sample each minute, in promtool's notation (`0+5x60`: from 0, five more, sixty times). */
type Series = Readonly<Record<string, string>>;

interface Behaviour {
  readonly firing: Readonly<Record<string, Series>>;
  /** The alert has fired and has ended. */
  readonly over?: Readonly<Record<string, Series>>;
  /** The alert has never fired. */
  readonly quiet: Readonly<Record<string, Series>>;
}

const agent = (name: string, labels = "") => `${name}{job="spoa-relay-agent",instance="edge"${labels}}`;
const host = (name: string, labels = "") => `${name}{job="spoa-relay-host",instance="replay"${labels}}`;
const dropped = agent("spoa_relay_agent_requests_total", ',fate="dropped",reason="buffer full"');
const enqueued = agent("spoa_relay_agent_requests_total", ',fate="enqueued",reason=""');
const unusable = agent("spoa_relay_agent_requests_total", ',fate="unusable",reason="no path"');
const journalPacks = agent("spoa_relay_agent_journal_packs");
const journalBytes = agent("spoa_relay_agent_journal_bytes");
const journalMaxBytes = agent("spoa_relay_agent_journal_max_bytes");
const queueErrors = agent("spoa_relay_agent_queue_errors_total", ',code="DENIED"');
const refused = (event: string) => agent("spoa_relay_agent_connections_refused_total", `,event="${event}"`);
const ackBucket = (le: string) => agent("spoa_relay_agent_ack_seconds_bucket", `,le="${le}"`);
const loopDelay = agent("spoa_relay_agent_event_loop_delay_max_seconds");
const ready = agent("spoa_relay_agent_ready");
const seen = agent("spoa_relay_agent_requests_seen_total");
const connections = agent("spoa_relay_agent_connections");
const accepted = agent("spoa_relay_agent_connections_accepted_total");
const waiting = host("spoa_relay_target_waiting_packs", ',target="staging"');
const fate = (name: string) => host("spoa_relay_target_requests_total", `,target="staging",fate="${name}",class=""`);
const deadLetters = host("spoa_relay_target_dead_letter_packs", ',target="staging"');
const queueBytes = host("spoa_relay_queue_bytes", ',queue="staging"');
const queueMaxBytes = host("spoa_relay_queue_max_bytes", ',queue="staging"');
const damagedFiles = host("spoa_relay_damaged_queue_files", ',queue="staging"');
const held = host("spoa_relay_target_held", ',target="staging"');
const breaker = host("spoa_relay_target_breaker_open", ',target="staging"');
const removed = host("spoa_relay_target_removed", ',target="old"');
const captureWaiting = host("spoa_relay_capture_waiting_requests", ',capture="all"');
const missing = host("spoa_relay_missing_packs", ',agent="edge"');
const formerMissing = host("spoa_relay_missing_packs", ',agent="former agents"');

const oneEach7Minutes = Array.from({ length: 61 }, (_, minute) => Math.floor(minute / 7)).join(" ");

const behaviours: Readonly<Record<string, Behaviour>> = {
  SpoaRelayAgentDown: {
    firing: { "it has stopped": { [agent("up")]: "1x55 0x5" } },
    quiet: { "one scrape failed": { [agent("up")]: "1x30 0 1x29" }, "the host has stopped": { [host("up")]: "0x60" } },
  },
  SpoaRelayAgentDropping: {
    firing: { "the first request is dropped": { [dropped]: "0x56 5x4" } },
    over: { "the drops were long ago": { [dropped]: "0x20 500x40" } },
    quiet: {
      "all requests are enqueued": { [dropped]: "7x60", [enqueued]: "0+9x60" },
    },
  },
  SpoaRelayAgentUnusableMessages: {
    firing: { "messages have no path": { [unusable]: "0x40 0+5x20" } },
    quiet: { "there was only one": { [unusable]: "0x50 1x10" }, "all messages are usable": { [enqueued]: "0+9x60" } },
  },
  SpoaRelayAgentJournalGrowing: {
    firing: { "more and more packs wait": { [journalPacks]: "0x30 0+10x30" } },
    quiet: {
      "the journal drains": { [journalPacks]: "600-10x60" },
      "a short peak is over": { [journalPacks]: "0x50 50 90 0x8" },
      "the journal is empty": { [journalPacks]: "0x60" },
    },
  },
  SpoaRelayAgentJournalNearlyFull: {
    firing: { "90% of it is used": { [journalPacks]: "9x60", [journalBytes]: "900x60", [journalMaxBytes]: "1000x60" } },
    quiet: {
      "half of it is used": { [journalPacks]: "9x60", [journalBytes]: "500x60", [journalMaxBytes]: "1000x60" },
      "nothing waits in it": { [journalPacks]: "0x60", [journalBytes]: "900x60", [journalMaxBytes]: "1000x60" },
    },
  },
  SpoaRelayAgentJournalDown: {
    firing: { "the disk is full": { [agent("spoa_relay_agent_journal_up")]: "1x50 0x10" } },
    quiet: {
      "it works": { [agent("spoa_relay_agent_journal_up")]: "1x60" },
      "no journal is configured": { [ready]: "1x60" },
    },
  },
  SpoaRelayQueueRefusing: {
    firing: {
      "each attempt fails": { [queueErrors]: "0x50 0+12x10" },
      "some attempts fail": { [queueErrors]: "0x50 0+1x10" },
    },
    over: { "the queue has recovered": { [queueErrors]: "0+12x50 600x10" } },
    quiet: { "one attempt failed": { [queueErrors]: "0x56 1x4" } },
  },
  SpoaRelayAgentClosingPeers: {
    firing: {
      "a peer holds too much": { [refused("evicted")]: "0x56 1x4" },
      "too many connections": { [refused("crowded")]: "0x56 90x4" },
    },
    over: { "it was long ago": { [refused("evicted")]: "0x20 500x40" } },
    quiet: { "health checks of a scanner are refused": { [refused("session-end")]: "0+9x60" } },
  },
  SpoaRelayAckLatencyHigh: {
    firing: {
      "2% of the ACKs take longer": {
        [ackBucket("0.005")]: "0+98x60",
        [ackBucket("0.01")]: "0+100x60",
        [ackBucket("+Inf")]: "0+100x60",
      },
    },
    quiet: {
      "0.5% of the ACKs take longer": { [ackBucket("0.005")]: "0+995x60", [ackBucket("+Inf")]: "0+1000x60" },
      "no frames arrive": { [ackBucket("0.005")]: "9x60", [ackBucket("+Inf")]: "10x60" },
    },
  },
  SpoaRelayEventLoopBlocked: {
    firing: { "each scrape shows it": { [loopDelay]: "0.002x50 0.2x10" } },
    quiet: {
      "once, at the start": { [loopDelay]: "0.4 0.002x60" },
      "some scrapes show it": { [loopDelay]: "0.2 0.01 0.2 0.01x57" },
    },
  },
  SpoaRelayHealthyButNothingCaptured: {
    firing: {
      "it saw requests before": { [ready]: "1x60", [seen]: "0+50x40 2000x20" },
      "HAProxy holds connections": { [ready]: "1x60", [seen]: "50x60", [connections]: "4x60" },
      "only health checks have ever arrived": { [ready]: "1x60", [seen]: "0x60", [accepted]: "0+60x60" },
    },
    quiet: {
      "few requests arrive": { [ready]: "1x60", [seen]: oneEach7Minutes },
      "requests arrive": { [ready]: "1x60", [seen]: "0+50x60", [connections]: "4x60", [accepted]: "0+60x60" },
      "no HAProxy has ever connected": { [ready]: "1x60", [seen]: "0x60", [connections]: "0x60", [accepted]: "0x60" },
      "one of two workers no longer receives requests": {
        [ready]: "1x60",
        [agent("spoa_relay_agent_requests_seen_total", ',worker="1"')]: "0+50x60",
        [agent("spoa_relay_agent_requests_seen_total", ',worker="2"')]: "0+50x40 2000x20",
      },
      "it is not ready, for which there are other alerts": { [ready]: "0x60", [seen]: "0+50x40 2000x20" },
    },
  },
  SpoaRelayHostDown: {
    firing: { "it has stopped": { [host("up")]: "1x50 0x10" } },
    quiet: { "it runs": { [host("up")]: "1x60" }, "it was restarted": { [host("up")]: "1x58 0 1" } },
  },
  SpoaRelayHostFailing: {
    firing: {
      "the state fails": { [host("spoa_relay_host_state_up")]: "1x50 0x10" },
      "the queue fails": { [host("spoa_relay_ingress_up")]: "1x50 0x10", [host("spoa_relay_host_state_up")]: "1x60" },
    },
    quiet: { "both work": { [host("spoa_relay_ingress_up")]: "1x60", [host("spoa_relay_host_state_up")]: "1x60" } },
  },
  SpoaRelayQueueNearlyFull: {
    firing: { "a target is away": { [queueBytes]: "0+100x60", [queueMaxBytes]: "5000x60" } },
    over: { "it came back": { [queueBytes]: "4500x40 100x20", [queueMaxBytes]: "5000x60" } },
    quiet: { "it is half full": { [queueBytes]: "2500x60", [queueMaxBytes]: "5000x60" } },
  },
  SpoaRelayTargetDropping: {
    firing: { "its queue is full": { [fate("dropped")]: "0x56 5x4" } },
    over: { "there is room again": { [fate("dropped")]: "0x20 500x40" } },
    quiet: { "it gets everything": { [fate("dropped")]: "7x60", [fate("answered")]: "0+9x60" } },
  },
  SpoaRelayQueueDamaged: {
    firing: { "a file was set aside": { [damagedFiles]: "0x50 1x10" } },
    over: { "somebody has deleted it": { [damagedFiles]: "1x50 0x10" } },
    quiet: { "there is none": { [damagedFiles]: "0x60" } },
  },
  SpoaRelayDeadLetters: {
    firing: { "there are dead letters": { [deadLetters]: "0x50 3x10" } },
    over: { "they were redriven": { [deadLetters]: "3x50 0x10" } },
    quiet: { "there are none": { [deadLetters]: "0x60" } },
  },
  SpoaRelayUndecodablePacks: {
    firing: { "there is one": { [host("spoa_relay_ingress_dead_letter_packs")]: "0x50 1x10" } },
    quiet: { "there is none": { [host("spoa_relay_ingress_dead_letter_packs")]: "0x60" } },
  },
  SpoaRelayTargetNotDraining: {
    firing: {
      "the shadow is down": { [waiting]: "0+50x60", [fate("answered")]: "100x60", [fate("filtered")]: "0+9x60" },
    },
    quiet: {
      "it is slow but continues": { [waiting]: "0+50x60", [fate("answered")]: "0+1x60" },
      "nothing waits": { [waiting]: "0x60", [fate("answered")]: "100x60" },
      "packs wait for two minutes": { [waiting]: "0x58 50 50", [fate("answered")]: "100x60" },
      "the target is paused": { [waiting]: "0+50x60", [fate("answered")]: "100x60", [held]: "1x60" },
    },
  },
  SpoaRelayTargetBreakerOpen: {
    firing: { "it stays open": { [breaker]: "0x40 1x20" } },
    quiet: { "it was open for two minutes": { [breaker]: "0x55 1x2 0x3" }, "it is closed": { [breaker]: "0x60" } },
  },
  SpoaRelayTargetRemoved: {
    firing: { "its requests are left": { [removed]: "1x60" } },
    quiet: { "they were sent to another target at once": { [removed]: "1x3 stale _x55" } },
  },
  SpoaRelayCaptureWaiting: {
    firing: { "its archive fails": { [captureWaiting]: "0x30 0+90x30" } },
    over: { "the archive works again": { [captureWaiting]: "900x40 300 0x19" } },
    quiet: {
      "nothing waits": { [captureWaiting]: "0x60" },
      "a batch waited for five minutes": { [captureWaiting]: "0x50 90x4 0x6" },
    },
  },
  SpoaRelayPacksMissing: {
    firing: { "a number is missing": { [missing]: "0x40 1x20" } },
    quiet: {
      "the pack arrived late": { [missing]: "0x50 1x5 0x5" },
      "it has been missing for hours": { [missing]: "4x60" },
      "its agent is gone": { [missing]: "4x40 0x20", [formerMissing]: "7x40 11x20" },
    },
  },
};

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

const rules = (parse(readFileSync(file, "utf8")) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  ({ rules }) => rules,
);

describe("the alerts for Prometheus", () => {
  it("each have a summary, a description and a severity", () => {
    for (const { alert, labels, annotations } of rules) {
      expect([alert, labels.severity]).toEqual([alert, expect.stringMatching(/^(?:critical|warning)$/)]);
      expect(annotations.summary.length, alert).toBeGreaterThan(20);
      expect(annotations.description.length, alert).toBeGreaterThan(60);
    }
  });

  it("use only metrics of the agent and the host", () => {
    const knownNames = new Set(metricNames());
    for (const { expr } of rules) {
      const names = [...expr.matchAll(/spoa_relay_\w+/g)].map(([name]) => name.replace(/_bucket$/, ""));
      expect(names.filter((name) => !knownNames.has(name))).toEqual([]);
    }
  });

  it("all have test cases", () => {
    expect(Object.keys(behaviours)).toEqual(rules.map(({ alert }) => alert));
  });

  it("pass promtool's check", () => {
    expect(promtool(["check", "rules", file])).toMatchObject({ ok: true });
  });
});

describe("the documents", () => {
  it("names every alert and every metric, and no others", () => {
    const agentSection = sectionOf(readDocument("agent/README.md"), "Metrics and alerts");
    const hostSection = sectionOf(readDocument("functions/README.md"), "Metrics");
    const named = (pattern: RegExp) => [...agentSection.matchAll(pattern)].map(([, name]) => name).sort();

    // Short forms (`…_name`) continue the prefix of the first metric in their line.
    const metrics = [agentSection, hostSection]
      .join("\n")
      .split("\n")
      .flatMap((line) => {
        const [, prefix = ""] = /^\| `(spoa_relay_(?:agent_)?)/.exec(line) ?? [];
        return [...line.matchAll(/`(?:…_|(?=spoa_relay_))([a-z]\w+)(?:\{[\w,]+\})?`/g)].map(([, name]) =>
          name.startsWith("spoa_relay_") ? name : prefix + name,
        );
      });
    expect(metrics.sort()).toEqual(metricNames().sort());
    const alerts = rules.map(({ alert }) => alert.replace(/^SpoaRelay/, "")).sort();
    expect(named(/`((?:Agent|Capture|Host|Packs|Queue|Healthy|Ack|Event|Target|Dead|Undecodable)[A-Za-z]+)`/g)).toEqual(
      alerts,
    );
  });
});

function metricNames(): string[] {
  const eventLoopDelay = new EventLoopDelay();
  onTestFinished(() => eventLoopDelay.stop());
  const stats = () => toAgentStats("edge~1", "", createLedger(), {} as AgentGauges);
  const agentMetrics = createAgentMetrics({
    stats,
    vitals: () => ({}) as AgentVitals,
    ackLatency: new AckLatency(),
    eventLoopDelay,
  });
  const hostMetrics = createHostMetrics(() => Promise.reject(new Error("must not be read")));
  return [agentMetrics, hostMetrics]
    .flatMap((registry) => registry.getMetricsAsArray())
    .map(({ name }) => name)
    .filter((name) => name.startsWith("spoa_relay_"));
}

const cases = Object.entries(behaviours).flatMap(([alert, { firing, over = {}, quiet }]) => {
  const now = `ALERTS{alertname="${alert}",alertstate="firing"}`;
  const ever = `max_over_time(${now}[2h])`;
  return [
    ...Object.entries(firing).map(([when, series]) => ({ alert, does: "fires", when, series, expr: now, count: 1 })),
    ...Object.entries(over).map(([when, series]) => ({ alert, does: "has ended", when, series, expr: now, count: 0 })),
    ...Object.entries(over).map(([when, series]) => ({ alert, does: "had fired", when, series, expr: ever, count: 1 })),
    ...Object.entries(quiet).map(([when, series]) => ({ alert, does: "is quiet", when, series, expr: ever, count: 0 })),
  ];
});

describe.for(cases.map((one, number) => ({ ...one, number })))("$alert", ({ does, when, number }) => {
  it(`${does} if ${when}`, () => {
    const { ok, output } = outcome();
    // promtool prints the expressions that failed. If it printed none, it did not get that far.
    const failed = [...output.matchAll(/# case (\d+)"/g)].map(([, digits]) => Number(digits));

    expect(!ok && (failed.length === 0 || failed.includes(number)) ? output : "").toBe("");
  });
});

let ran: ReturnType<typeof promtool> | undefined;

/** What promtool says of all cases together: to start it for each would take half a minute. */
function outcome(): ReturnType<typeof promtool> {
  if (ran) return ran;
  const tests = cases.map(({ series, expr, count }, number) => ({
    interval: "1m",
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [
      {
        expr: `count(${expr}) # case ${number}`,
        eval_time: "60m",
        exp_samples: count === 0 ? [] : [{ labels: "{}", value: count }],
      },
    ],
  }));
  const testFile = join(temporaryDirectory(), "alerts.test.yaml");
  writeFileSync(testFile, JSON.stringify({ rule_files: [file], evaluation_interval: "1m", tests }));
  ran = promtool(["test", "rules", testFile]);
  return ran;
}
