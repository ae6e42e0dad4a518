import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import type { Config } from "../../../relay/config/config.ts";
import { configJsonSchema, loadConfig } from "../../../relay/config/load.ts";
import { openIngress } from "../../../relay/queue/ingress.ts";
import type { AgentStats } from "../../../relay/stats/agent-stats.ts";
import type { IngressStats } from "../../../relay/stats/host-stats.ts";
import { addsUp, formatEquations, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { message, receive } from "../../contract/queue-contract.ts";
import { run } from "../../support/processes/command-line.ts";

const root = mkdtempSync(join(tmpdir(), "ingress-"));
const sqs = "https://sqs.eu-central-1.amazonaws.com/123456789012/packs";
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("queue: in the configuration", () => {
  it("may be a directory, which holds everything", () => {
    const { ingress, queueDirectory, warnings } = load("queue: embedded:./here");

    expect(ingress).toEqual({ kind: "embedded", directory: join(root, "here"), maxBytes: 5 * 1024 ** 3 });
    expect([queueDirectory, warnings]).toEqual([join(root, "here"), []]);
  });

  it("may be a section, and its size is shared equally by the ingress queue and the targets", () => {
    const { ingress, queueShareBytes } = load("queue: { place: embedded:./here, maxBytes: 3GiB }");

    expect(ingress).toMatchObject({ kind: "embedded", directory: join(root, "here") });
    expect(queueShareBytes).toBe(1.5 * 1024 ** 3);
  });

  it.each([
    ["{ place: redis:./data }", /queue.place: must be embedded:DIRECTORY/],
    ["{ place: embedded:./data, maxBytes: 5 }", /queue: maxBytes: "5" has no unit/],
    [
      "{ place: embedded:./data, maxBytes: 31MiB }",
      /queue\.maxBytes: must be at least 32MiB: the ingress queue and each/,
    ],
    ["{ place: embedded:./data, max: 5GiB }", /queue: unknown key max; allowed here: place, maxBytes/],
    ["{ maxBytes: 5GiB }", /queue: place: is missing; it must be embedded:DIRECTORY/],
    ["7", /queue: must be embedded:DIRECTORY/],
  ])("refuses %s", (queue, text) => {
    expect(() => load(`queue: ${queue}`)).toThrow(text);
  });

  it("may be an SQS queue; the host keeps everything else in ./data", () => {
    const { ingress, queueDirectory, warnings } = load(`queue: ${sqs}`);

    expect(ingress).toEqual({ kind: "sqs", url: sqs });
    expect([queueDirectory, warnings]).toEqual([join(root, "data"), []]);
  });

  it("may be an SQS queue with another directory in host.data", () => {
    expect(load(`queue: ${sqs}\nhost: { data: /srv/relay }`).queueDirectory).toBe("/srv/relay");
  });

  it("refuses host.data if everything is in one directory", () => {
    expect(() => load("queue: embedded:./here\nhost:\n  data: ./there")).toThrow(
      /spoa-relay.yaml:3: host.data: is for a queue in SQS; with queue: embedded:DIRECTORY the host keeps everything in DIRECTORY: remove it$/,
    );
  });

  it.each([
    ["redis:./data", /queue: must be embedded:DIRECTORY or the URL of an SQS queue, such as https:/],
    ["embedded:", /queue: must be embedded:DIRECTORY or the URL/],
    ["http://[/x", /queue: must be the URL of an SQS queue, such as https:/],
    [`${sqs}.fifo`, /queue: must be a standard queue/],
    ["https://sqs.eu-central-1.amazonaws.com/packs", /queue: must end with \/ACCOUNT\/NAME/],
  ])("refuses %s", (queue, text) => {
    expect(() => load(`queue: "${queue}"`)).toThrow(text);
  });

  it("warns of http, unless the queue is on this machine", () => {
    expect(load("queue: http://localstack:4566/000000000000/packs").warnings).toEqual([
      expect.stringContaining("over http, anyone on the network path can read the requests; use https"),
    ]);
    expect(load("queue: http://127.0.0.1:4566/000000000000/packs").warnings).toEqual([]);
  });

  it("accepts both forms in the JSON Schema", () => {
    const { properties } = configJsonSchema() as { properties: { queue: { anyOf: [{ pattern: string }] } } };
    const pattern = new RegExp(properties.queue.anyOf[0].pattern);

    expect(["embedded:./data", sqs, "redis:x", "embedded:"].map((text) => pattern.test(text))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});

describe("openIngress", () => {
  it("opens a directory as a queue that can count requests", async () => {
    const ingress = await openIngress({ kind: "embedded", directory: join(root, "q") });
    onTestFinished(() => ingress.close());

    await ingress.queue.send([message({ requests: 7 }), message({ requests: 5 })]);

    expect(await receive(ingress.queue)).toHaveLength(2);
    expect(await ingress.backlog()).toMatchObject({ messages: 2, requests: 12, expiredRequests: 0 });
  });

  it.each([
    ["is not loaded for a directory", JSON.stringify({ kind: "embedded", directory: join(root, "lazy") }), "false"],
    ["is loaded for a URL", JSON.stringify({ kind: "sqs", url: sqs }), "true"],
  ])("the SDK %s", async (_, place, loaded) => {
    const script = `
      import { registerHooks } from "node:module";
      let loaded = false;
      registerHooks({ resolve(name, context, next) { loaded ||= name.startsWith("@aws-sdk/"); return next(name, context); } });
      const { openIngress } = await import("./relay/queue/ingress.ts");
      await import("./agent/agent.ts");
      await import("./functions/host/host.ts");
      (await openIngress(${place})).close();
      console.log(loaded);`;
    const repository = resolve(import.meta.dirname, "../../..");

    const { stdout, stderr } = await run(
      "sh",
      "-c",
      'cd "$0" && exec "$1" --input-type=module -e "$2"',
      repository,
      process.execPath,
      script,
    );

    expect([stdout, stderr]).toEqual([`${loaded}\n`, ""]);
  });
});

describe("the ledger of an ingress queue in SQS", () => {
  it.each<[string, Partial<IngressStats>, Arrived, number]>([
    ["all are fanned out", { messages: 0 }, { packs: 3, requests: 300 }, 0],
    ["all are fanned out, and SQS does not answer", { problem: "away" }, { packs: 3, requests: 300 }, 0],
    ["the packs that are missing wait", { messages: 2 }, { packs: 1, requests: 100 }, 0],
    ["one waits and one cannot be decoded", { messages: 1, deadMessages: 1 }, { packs: 1, requests: 100 }, 0],
    ["messages of other agents also wait there", { messages: 900 }, { packs: 1, requests: 100 }, 0],
    ["fewer messages wait than packs are missing", { messages: 1 }, { packs: 1, requests: 100 }, 200],
    ["SQS does not answer while packs are missing", { problem: "away" }, { packs: 1, requests: 100 }, 200],
    ["packs of an earlier run also arrive", { messages: 1 }, { packs: 0, requests: 100, recovered: 500 }, 0],
    ["no message waits of a run that followed an earlier run", {}, { packs: 1, requests: 100, recovered: 500 }, 200],
    ["more arrive than were sent", { messages: 5 }, { packs: 4, requests: 301 }, 1],
  ])("%s", (_, ingress, arrived, unaccounted) => {
    const [, equation] = equations(ingress, arrived);

    expect(equation).toMatchObject({ title: "ingress queue", unaccounted });
  });

  it("shows how many messages wait, and does not count them as requests", () => {
    const waiting = equations({ messages: 2 }, { packs: 1, requests: 100 });
    const away = equations({ problem: "it is away" }, { packs: 1, requests: 100 });

    expect(formatEquations(waiting, process.stdout)).toContain(
      "not fanned out 200 (waiting in SQS: 2 messages, undecodable: 0)",
    );
    expect(formatEquations(away, process.stdout)).toContain("SQS does not answer: it is away");
    expect([addsUp(waiting), addsUp(away)]).toEqual([true, false]);
  });
});

interface Arrived {
  readonly packs: number;
  readonly requests: number;
  /** Requests of earlier runs that the agent had in its journal. */
  readonly recovered?: number;
}

function load(text: string): Config {
  const file = join(root, "spoa-relay.yaml");
  writeFileSync(file, `${text}\ntargets: { a: { url: "http://127.0.0.1:1", rate: 1/s } }\n`);
  return loadConfig(file, {});
}

/** The equations of an agent that has sent 300 requests in three packs to the queue. */
function equations(ingress: Partial<IngressStats>, { recovered = 0, ...arrived }: Arrived) {
  const figures = {
    seen: 300,
    sampledOut: 0,
    filtered: 0,
    looped: 0,
    upgrade: 0,
    pending: 0,
    enqueued: 300,
    packs: 3,
    recovered,
  };
  const agent: AgentStats = {
    agent: "edge~1",
    runs: ["edge~1"],
    since: "2026-01-02T03:04:05.678Z",
    unreplayable: {},
    unusable: {},
    dropped: {},
    packBytes: 0,
    connections: 0,
    waitingBytes: 0,
    journalBytes: 0,
    journalPacks: 0,
    ...figures,
  };
  const agents = [{ agent: agent.agent, missingPacks: 0, ...arrived }];
  return toEquations(agent, { ingress: { deadLettered: 0, deadMessages: 0, ...ingress }, agents, targets: {} });
}
