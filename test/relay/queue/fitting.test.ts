import fc from "fast-check";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { toUncaptured } from "../../../functions/capture/uncaptured.ts";
import { redrive } from "../../../relay/control/dead-letters.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import type { PackedRequest } from "../../../relay/pack/pack.ts";
import { fitShares, leaveRoom } from "../../../relay/queue/fitting.ts";
import { anew, type MessagePack, readMessage, shareMessage } from "../../../relay/queue/message.ts";
import { type Delivery, maxMessageBytes, type OutgoingMessage, reservedBytes } from "../../../relay/queue/port.ts";
import { SqsQueue } from "../../../relay/queue/sqs.ts";
import { StrictSqs } from "../../support/aws/strict-sqs.ts";
import { openState } from "../../support/data/lanes.ts";
import { largeMessage, messageOfBytes } from "../../support/data/large-packs.ts";

// SQS also counts the name and the type of the pack's attribute.
const limit = maxMessageBytes - "packBinary".length;
const longestName = `a${"-".repeat(39)}`;
const longestReason = 100_000;

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("leaveRoom", () => {
  it("accepts packs up to its limit and refuses larger ones, which the queue itself would accept", async () => {
    const { queue } = await open();
    const messages = [limit - reservedBytes, limit - reservedBytes + 1, limit].map((bytes) => messageOfBytes(bytes));

    expect(messages.map(({ body, pack }) => body.length + pack.length)).toEqual([1_044_470, 1_044_471, limit]);
    const errors = await leaveRoom(queue).send(messages);
    expect(errors.map((error) => error?.code)).toEqual([undefined, "TOO_BIG", "TOO_BIG"]);
    expect(await queue.send(messages.slice(1))).toEqual([undefined, undefined]);
  });
});

describe("every message that was accepted", () => {
  it("can be made a dead letter, put back, split, redriven and moved, without the loss of a byte of its requests", async () => {
    await fc.assert(
      fc.asyncProperty(firstMessage, fc.array(step, { minLength: 1, maxLength: 8 }), async (first, steps) => {
        const stage = await Stage.start(first.message);
        fc.pre(stage.accepted);
        for (const one of [...steps, { kind: "deadLetter", reason: "at last" } as const]) await stage.run(one);
        stage.check();
      }),
      { numRuns: 12 },
    );
  });

  it("by an older version, up to the limit of SQS, can be so, too: the summary makes room for the reason", async () => {
    const sizes = fc.nat(reservedBytes + 500);
    await fc.assert(
      fc.asyncProperty(sizes, fc.array(step, { minLength: 1, maxLength: 5 }), fc.nat(), async (spare, steps, seed) => {
        const stage = await Stage.start(messageOfBytes(limit - spare, { seed, agent: "e~0badcafe" }), "older");
        for (const one of [{ kind: "deadLetter", reason: "refused; POST is not retried" } as const, ...steps]) {
          await stage.run(one);
        }
        stage.check();
      }),
      { numRuns: 8 },
    );
  });
});

describe("fitShares", () => {
  it("keeps the beginning of a reason, to a whole character, and says that it was cut", () => {
    const pack = read(messageOfBytes(5_000));
    const reasons = ["x".repeat(1_001), "😀".repeat(400), '"'.repeat(900), "\ufffe".repeat(300), "x".repeat(1_000)];
    const kept = reasons.map((reason) => {
      const { shares } = fitShares(pack, pack.requests, { attempt: 1, reason }, { maxMessageBytes: limit });
      return JSON.parse(shares[0].message.body).reason;
    });

    expect(kept).toEqual([
      `${"x".repeat(997)}…`,
      `${"😀".repeat(249)}…`,
      `${'"'.repeat(498)}…`,
      `${"\ufffe".repeat(166)}…`,
      "x".repeat(1_000),
    ]);
  });

  it("splits a pack whose requests fit one by one", () => {
    const pack = read(largeMessage({ bodies: [1, 2, 3].map(() => ({ random: 400_000 })) }));
    const { shares, unfit } = fitShares(pack, pack.requests, { attempt: 1 }, { maxMessageBytes: limit });

    expect(shares.map(({ requests }) => requests.map(({ index }) => index))).toEqual([[0, 1], [2]]);
    expect(unfit).toEqual([]);
  });

  it("has no message for the only request of a pack that leaves room for nothing, as only another program sends it", () => {
    const { body } = messageOfBytes(limit);
    const { pack: sealed } = messageOfBytes(limit + Buffer.byteLength(body) - 2);
    const pack = read({ body: "{}", pack: sealed });

    expect(fitShares(pack, pack.requests, { attempt: 1, reason: "refused" }, { maxMessageBytes: limit })).toEqual({
      shares: [],
      unfit: pack.requests,
    });
  });
});

/** What happens to a message later. */
const reasonText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 3_000 }),
  fc.constantFrom("\ufffe", "\ud800", "\u0000", '"', "😀", "x").map((char) => char.repeat(longestReason)),
);
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("deadLetter" as const), reason: reasonText }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("putBack" as const), tried: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("split" as const), at: fc.nat(100) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("redrive" as const), to: fc.option(fc.constant(longestName)) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("uncaptured" as const), captures: fc.integer({ min: 1, max: 120 }) }),
  },
);
type Step = NonNullable<typeof step extends fc.Arbitrary<infer T> ? T : never>;

const agentName = fc
  .string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 64,
  })
  .map((name) => `${name}~0badcafe`);

/** Packs of agents and of jobs of any size, most of them as large as they may be when they are sent first, give or take a byte. */
const firstMessage = fc
  .record({
    agent: agentName,
    seed: fc.nat(1e9),
    spare: fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: -2, max: 60 }) },
      { weight: 1, arbitrary: fc.nat(1_000_000) },
    ),
    zeros: fc.constantFrom(0, 0, 100_000, 3_000_000),
    others: fc.array(fc.nat(120_000), { maxLength: 4 }),
    job: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }), { nil: undefined }),
  })
  .map(({ agent, seed, spare, zeros, others, job }) => {
    const large = messageOfBytes(Math.max(2_000, limit - reservedBytes - spare), { agent, seed, zeros });
    const message =
      others.length < 2 ? large : largeMessage({ agent, seed, bodies: others.map((random) => ({ random })) });
    return { message: job === undefined ? message : ofJob(message, job) };
  });

function ofJob(message: OutgoingMessage, baseMs: number): OutgoingMessage {
  const { sealed: _, ...pack } = read(message);
  return shareMessage({ ...pack, job: { id: "20261122-175341-k3f", baseMs } }, pack.requests, { attempt: 0 });
}

/** A target's queue, a second target's, and the dead letters of both. */
class Stage {
  readonly accepted: boolean;
  readonly #sqs: StrictSqs;
  readonly #queue: SqsQueue;
  readonly #dead: SqsQueue;
  readonly #other: SqsQueue;
  readonly #captures: SqsQueue;
  readonly #sent: MessagePack;
  readonly #state = openState();

  /** @param by what sends the message first */
  static async start(message: OutgoingMessage, by: "agent" | "older" = "agent"): Promise<Stage> {
    const { queue, ...parts } = await open();
    const sender = by === "agent" ? leaveRoom(queue) : queue;
    const [refusal] = await sender.send([message]);
    return new Stage({ queue, ...parts }, read(message), refusal === undefined);
  }

  private constructor(parts: Awaited<ReturnType<typeof open>>, sent: MessagePack, accepted: boolean) {
    this.#sqs = parts.sqs;
    this.#queue = parts.queue;
    this.#dead = parts.dead;
    this.#other = parts.other;
    this.#captures = parts.captures;
    this.#sent = sent;
    this.accepted = accepted;
  }

  async run(one: Step): Promise<void> {
    if (one.kind === "redrive") return this.#redrive(one.to ?? undefined);
    for (const queue of [this.#queue, this.#other]) {
      for (const delivery of await drain(queue)) {
        await this.#replace(queue, delivery, one);
        await queue.delete([delivery.receipt]);
      }
    }
  }

  /** The requests are what they were, each once, wherever they are. */
  check(): void {
    const messages = ["q", "dead", "other"].flatMap((name) => this.#sqs.contents(name));
    const packs = messages.map(({ MessageBody = "", MessageAttributes }) =>
      read({ body: MessageBody, pack: Buffer.from(MessageAttributes?.pack.BinaryValue ?? "", "base64") }),
    );
    const records = packs.flatMap(({ id, requests }) =>
      requests.map(({ index, record }) => `${id} ${index} ${Buffer.from(record).toString("base64")}`),
    );
    const { id, requests } = this.#sent;
    expect(new Set(records).size).toBe(records.length);
    expect(records.sort()).toEqual(
      requests.map(({ index, record }) => `${id} ${index} ${Buffer.from(record).toString("base64")}`).sort(),
    );
    expect(new Set(packs.map(({ job }) => job?.id))).toEqual(new Set([this.#sent.job?.id]));
    expect(this.#sqs.refusals).toEqual([]);
  }

  async #replace(queue: SqsQueue, delivery: Delivery, one: Exclude<Step, { kind: "redrive" }>): Promise<void> {
    const pack = read(delivery);
    // Redriven requests are those of a target: no capture waits for them.
    if (one.kind === "uncaptured" && pack.redrive)
      return this.#replace(queue, delivery, { kind: "putBack", tried: true });
    if (one.kind === "deadLetter") {
      const { reason } = one;
      const letters = this.#fit(anew(pack, Date.now()), pack.requests, { attempt: pack.attempt + 1, reason });
      await sendEach(this.#dead, letters);
      for (const { body, pack: sealed } of letters) {
        const { reason: kept = "", since } = JSON.parse(body);
        expect(since).toBeUndefined();
        expect(kept.length).toBeGreaterThan(reason === "" ? -1 : 0);
        if (kept !== reason) expect(reason.startsWith(kept.replace(/…$/, ""))).toBe(true);
        const read_ = read({ body, pack: sealed });
        expect([read_.attempt, read_.redrive]).toEqual([pack.attempt + 1, pack.redrive]);
      }
    } else if (one.kind === "putBack") {
      const attempt = pack.attempt + (one.tried ? 1 : 0);
      const messages = this.#fit(pack, pack.requests, { attempt, delayMs: 0 });
      for (const message of messages) {
        expect(read(message)).toMatchObject({ attempt, queuedAtMs: pack.queuedAtMs });
      }
      await sendEach(queue, messages);
    } else if (one.kind === "split") {
      const at = one.at % pack.requests.length;
      const parts = [pack.requests.slice(0, at), pack.requests.slice(at)];
      await sendEach(
        queue,
        parts.flatMap((part) => this.#fit(pack, part, { attempt: pack.attempt })),
      );
    } else {
      const captures = Array.from({ length: one.captures }, (_, i) => `${i}${"c".repeat(40 - `${i}`.length)}`);
      const uncaptured = { captures, tries: 999_999 };
      const messages = toUncaptured(delivery, pack, pack.requests, uncaptured, queue.maxMessageBytes);
      const named = messages.map(({ body }) => JSON.parse(body).uncaptured.captures as string[]);
      expect(new Set(named.flat())).toEqual(new Set(captures));
      await sendEach(
        this.#captures,
        messages.map((message) => ({ ...message, delayMs: 0 })),
      );
      for (const copy of await drain(this.#captures)) {
        expect(read(copy).queuedAtMs).toBe(pack.queuedAtMs);
        await this.#captures.delete([copy.receipt]);
      }
      await sendEach(queue, this.#fit(pack, pack.requests, { attempt: pack.attempt }));
    }
  }

  async #redrive(to: string | undefined): Promise<void> {
    const letters = await drain(this.#dead);
    for (const { receipt } of letters) await this.#dead.extend(receipt, 0);
    const before = letters.map((letter) => read(letter).redrive?.count ?? 0);
    const waiting = new Set(["q", "other"].flatMap((name) => this.#sqs.contents(name)));
    await redrive({
      deadLetters: this.#dead,
      queue: to === undefined ? this.#queue : this.#other,
      target: "staging",
      ...(to !== undefined && { to }),
      ledger: this.#state.ledger,
      startedAtMs: Date.now() + 1,
      maxMessages: 100,
      maxMs: 60_000,
      waitMs: 0,
    });
    // Their time in the queue begins anew.
    const added = ["q", "other"].flatMap((name) => this.#sqs.contents(name));
    for (const { MessageBody = "" } of added.filter((entry) => !waiting.has(entry))) {
      expect(JSON.parse(MessageBody)).toMatchObject({ redrive: {} });
      expect(JSON.parse(MessageBody)).not.toHaveProperty("since");
    }
    // Redriven in the same millisecond as before, a dead letter stays.
    if (before.every((count) => count === 0)) expect(this.#sqs.contents("dead")).toEqual([]);
  }

  #fit(pack: MessagePack, requests: readonly PackedRequest[], options: Parameters<typeof fitShares>[2]) {
    const { shares, unfit } = fitShares(pack, requests, options, this.#queue);
    expect(unfit).toEqual([]);
    return shares.map(({ message }) => message);
  }
}

async function sendEach(queue: SqsQueue, messages: readonly OutgoingMessage[]): Promise<void> {
  for (const message of messages) expect(await queue.send([message])).toEqual([undefined]);
}

async function drain(queue: SqsQueue): Promise<readonly Delivery[]> {
  const deliveries: Delivery[] = [];
  for (;;) {
    const { signal } = new AbortController();
    const more = await queue.receive({ max: 10, waitMs: 0, visibilityMs: 600_000, signal });
    if (more.length === 0) return deliveries;
    deliveries.push(...more);
  }
}

async function open() {
  const sqs = await StrictSqs.start();
  const [queue, dead, other, captures] = ["q", "dead", "other", "captures"].map(
    (name) => new SqsQueue({ url: sqs.urlOf(name) }),
  );
  onTestFinished(() => {
    for (const one of [queue, dead, other, captures]) one.close();
  });
  return { sqs, queue, dead, other, captures };
}

function read(message: Parameters<typeof readMessage>[0]): MessagePack {
  const pack = readMessage(message);
  if (pack instanceof DecodeError) throw pack;
  return pack;
}
