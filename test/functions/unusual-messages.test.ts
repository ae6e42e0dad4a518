import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { createFanOut } from "../../functions/fanout.ts";
import { createReplay } from "../../functions/replay.ts";
import { leaveRoom } from "../../relay/queue/fitting.ts";
import { sendAll } from "../../relay/queue/send-all.ts";
import { SqsQueue } from "../../relay/queue/sqs.ts";
import { StrictSqs } from "../support/aws/strict-sqs.ts";
import { invoke } from "../support/benches/replay-bench.ts";
import { laneOf, openState } from "../support/data/lanes.ts";
import { largeMessage, messageOfBytes } from "../support/data/large-packs.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { delivery } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { toLambdaEvent } from "../support/lambda/lambda-mapping.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

// SQS also counts the name and the type of the pack's attribute.
const limit = 1_048_576 - "packBinary".length;

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("a message of another program in SQS", () => {
  const text = { DataType: "String", StringValue: "x" };
  const foreign: readonly (readonly [string, string, Parameters<StrictSqs["put"]>[2]])[] = [
    ["without attributes", "hello", undefined],
    [
      "with ten other attributes",
      '{"order":7}',
      Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`a${i}`, text])),
    ],
    ["with a text named pack", "\ud83d\udc11\t\u007f", { pack: text }],
    ["of the largest size", "€".repeat(349_525), undefined],
    ["with as many bytes named pack as fit", "hello", { pack: { DataType: "Binary", BinaryValue: base64(limit - 5) } }],
  ];

  it.each(foreign)("is a dead letter of the target at once, with a reason: %s", async (_, body, attributes) => {
    const stage = await Stage.start();
    stage.sqs.put("q", body, attributes);
    expect(await stage.invoke("replay")).toEqual([]);

    stage.expectLetter(body);
  });

  it.each(foreign)("is a dead letter of the ingress queue at once, with a reason: %s", async (_, body, attributes) => {
    const stage = await Stage.start();
    stage.sqs.put("q", body, attributes);
    expect(await stage.invoke("fanOut")).toEqual([]);

    stage.expectLetter(body);
  });

  it("is one in Lambda, too, whose events have no attributes then", async () => {
    const stage = await Stage.start();
    const { Records } = toLambdaEvent([delivery({ body: "hello", pack: new Uint8Array(), requests: 0 })]) as {
      Records: readonly object[];
    };
    const event = { Records: Records.map((record) => ({ ...record, messageAttributes: {} })) };
    const response = await stage.replay.request("/", { method: "POST", body: JSON.stringify(event) });

    expect(await response.json()).toEqual({ batchItemFailures: [] });
    stage.expectLetter("hello");
  });
});

describe("a POST that is almost as large as a message, whose answer is lost", () => {
  it.each([
    ["the largest that an agent sends", limit - 4_096, leaveRoom],
    ["the largest that an older agent sent", limit, (queue: SqsQueue) => queue],
  ])("is sent once and becomes a dead letter with a reason: %s", async (_, bytes, toSender) => {
    const stage = await Stage.start();
    const message = messageOfBytes(bytes);
    expect(Buffer.byteLength(message.body) + message.pack.length).toBe(bytes);
    await sendAll(toSender(stage.queue), [message]);
    const failed = [await stage.invoke("replay"), await stage.invoke("replay")];

    expect(failed).toEqual([[], []]);
    expect(stage.shadow.received.length).toBe(1);
    const [letter, ...others] = stage.sqs.contents("dead");
    expect(others).toEqual([]);
    expect(JSON.parse(letter.MessageBody ?? "").reason).toMatch(/^ECONNRESET|^[a-z].{20,}/i);
    expect(await stage.fates()).toEqual({ deadLettered: 1 });
  });

  it("is sent once and counted as discarded if it leaves room for no dead letter, as only another program sends it", async () => {
    const stage = await Stage.start();
    const { pack } = largeMessage({ bodies: [{ random: limit - 140 }] });
    const body = "x".repeat(limit - pack.length);
    await sendAll(stage.queue, [{ body, pack, requests: 1 }]);
    const failed = [await stage.invoke("replay"), await stage.invoke("replay")];

    expect(body.length).toBeLessThan(19);
    expect(failed).toEqual([[], []]);
    expect(stage.shadow.received.length).toBe(1);
    expect(await stage.fates()).toEqual({ discarded: 1 });
    expect(stage.log.events).toEqual(["too-big"]);
  });
});

/** A target whose shadow resets every connection, and its queues in SQS. */
class Stage {
  readonly log = new LogLines();
  readonly replay: ReturnType<typeof createReplay>;
  readonly #fanOut: ReturnType<typeof createFanOut>;
  readonly #state = openState();
  readonly sqs: StrictSqs;
  readonly shadow: ShadowServer;
  readonly queue: SqsQueue;

  static async start(): Promise<Stage> {
    return new Stage(await StrictSqs.start(), await ShadowServer.start(() => "reset"));
  }

  private constructor(sqs: StrictSqs, shadow: ShadowServer) {
    this.sqs = sqs;
    this.shadow = shadow;
    this.queue = new SqsQueue({ url: sqs.urlOf("q") });
    const deadLetters = new SqsQueue({ url: sqs.urlOf("dead") });
    onTestFinished(() => {
      this.queue.close();
      deadLetters.close();
    });
    const { queue, log } = this;
    const { ledger, jobs } = this.#state;
    const lane = laneOf(target({ url: shadow.url }), this.#state);
    this.replay = createReplay({ lane, queue, deadLetters, ledger, jobs, log: log.log });
    const queueOf = () => queue;
    this.#fanOut = createFanOut({
      targets: [],
      queueOf,
      captures: [],
      ingress: queue,
      deadLetters,
      ledger,
      log: log.log,
    });
  }

  /** Handles what can be received now, as an event source mapping does; resolves with what is to be delivered again. */
  async invoke(what: "replay" | "fanOut"): Promise<readonly string[]> {
    this.sqs.nowMs += 3_600_000;
    const { signal } = new AbortController();
    const deliveries = await this.queue.receive({ max: 10, waitMs: 0, visibilityMs: 30_000, signal });
    const failed = await invoke(what === "replay" ? this.replay : this.#fanOut, deliveries);
    await this.queue.delete(
      deliveries.filter(({ messageId }) => !failed.includes(messageId)).map(({ receipt }) => receipt),
    );
    return failed;
  }

  expectLetter(body: string): void {
    const letters = this.sqs.contents("dead").map(({ MessageBody = "" }) => JSON.parse(MessageBody));
    const reason = expect.stringMatching(/another program|not a pack/);
    expect(letters).toEqual([
      { reason, body: expect.any(String), ...(letters[0].bodyBytes && { bodyBytes: Buffer.byteLength(body) }) },
    ]);
    expect(body.startsWith(letters[0].body)).toBe(true);
    if (letters[0].bodyBytes === undefined) expect(letters[0].body).toBe(body);
    expect([this.sqs.contents("q"), this.sqs.refusals]).toEqual([[], []]);
    expect(this.log.events).toEqual(["poison"]);
  }

  async fates(): Promise<Record<string, number>> {
    const fates: [string, number][] = Object.entries(
      (await this.#state.ledger.totals()).targets.get("staging")?.fates ?? {},
    );
    return Object.fromEntries(fates.filter(([, count]) => count > 0));
  }
}

function base64(bytes: number): string {
  return Buffer.alloc(bytes, "garbage").toString("base64");
}
