import { describe, expect, it } from "vitest";
import { describeDeadLetter, type RedriveOptions, redrive } from "../../../relay/control/dead-letters.ts";
import { shareMessage } from "../../../relay/queue/message.ts";
import { type OutgoingMessage, QueueError } from "../../../relay/queue/port.ts";
import { ReplayBench } from "../../support/benches/replay-bench.ts";
import { pack, packIn, packMessage, requests } from "../../support/data/packs.ts";
import { ShadowServer } from "../../support/servers/shadow-server.ts";

describe("describeDeadLetter", () => {
  it("has id, number of requests, times and reason", async () => {
    const bench = new ReplayBench({});
    const whole = pack({ requests: requests(2, { capturedAtMs: 1_790_000_000_000 }) });
    await bench.queue.deadLetters.send([shareMessage(whole, whole.requests, { attempt: 3, reason: "refused" })]);
    const [letter] = await bench.queue.deadLetters.browse(10);

    expect(describeDeadLetter(letter)).toEqual({
      id: letter.messageId,
      requests: 2,
      reason: "refused",
      firstCapturedAt: "2026-09-21T14:13:20.000Z",
      sentAt: new Date(bench.nowMs).toISOString(),
    });
  });

  it.each([
    ["the queue's own reason", { body: "{}", reason: "received 100 times" }, "received 100 times"],
    ["the reason of a body that is no summary", { body: '{"reason":"no pack"}' }, "no pack"],
    ["no reason in a body that is not JSON", { body: "x" }, "unknown"],
    ["a reason without its control characters", { body: '{"reason":"a\\u001b[2Jb\\n"}' }, "a\\x1b[2Jb\\x0a"],
  ])("finds %s", (_, letter, reason) => {
    const { requests: count, firstCapturedAt, ...described } = describeDeadLetter({ ...foreign, ...letter });

    expect(described).toEqual({ id: "1", reason, sentAt: "1970-01-01T00:00:00.000Z" });
    expect([count, firstCapturedAt]).toEqual([undefined, undefined]);
  });
});

describe("redrive", () => {
  it("sends dead letters again from their first attempt, and updates the ledger", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? { status: 200 } : "reset"));
    const bench = new ReplayBench({ url: shadow.url, attempts: 1 });
    await bench.send(packMessage({ requests: requests(3) }));
    await bench.replayAll();
    const before = await bench.fates();
    shadow.behaviour = () => ({ status: 201 });
    const redriven = await redriveFrom(bench);
    const between = await bench.fates();
    const [delivery] = await bench.receive();
    await bench.invoke([delivery]);

    expect(before).toEqual({ "answered.2xx": 1, deadLettered: 2 });
    expect(redriven).toEqual({ messages: 1, requests: 2, obsolete: 0, undecodable: 0, newer: 0, done: true });
    expect(between).toEqual({ "answered.2xx": 1 });
    expect(packIn(delivery)).toMatchObject({ id: pack().id, attempt: 0 });
    expect(await bench.fates()).toEqual({ "answered.2xx": 3 });
    expect(await bench.deadLetters()).toEqual([]);
    expect(shadow.paths.filter((path) => path === "/0").length).toBe(1);
  });

  it("sends only the named one, and makes the others visible at once", async () => {
    const bench = await benchWithDeadLetters(25);
    const letters = await bench.queue.deadLetters.browse(100);
    const redriven = await redriveFrom(bench, { messageId: letters[13].messageId });

    expect(redriven).toMatchObject({ messages: 1, requests: 1, undecodable: 0, done: true });
    expect(packIn((await bench.receive())[0]).sequence).toBe(13);
    expect((await receiveDead(bench)).length).toBe(10);
    expect(bench.queue.deadLetters.depth().messages).toBe(24);
  });

  it("sends all of 25 dead letters", async () => {
    const bench = await benchWithDeadLetters(25);

    expect(await redriveFrom(bench)).toMatchObject({ messages: 25, requests: 25, undecodable: 0, done: true });
    expect(bench.queue.depth().requests).toBe(25);
    expect(bench.queue.deadLetters.depth().messages).toBe(0);
  });

  it("ends after maxMessages, and continues with the others when it is called again", async () => {
    const bench = await benchWithDeadLetters(25);

    expect(await redriveFrom(bench, { maxMessages: 12 })).toMatchObject({ messages: 12, done: false });
    expect(bench.queue.deadLetters.depth().messages).toBe(13);
    expect(await redriveFrom(bench, { maxMessages: 13 })).toMatchObject({ messages: 13, done: false });
    expect(await redriveFrom(bench, { maxMessages: 12 })).toMatchObject({ messages: 0, done: true });
  });

  it("ends after maxMs", async () => {
    const bench = await benchWithDeadLetters(3);

    expect(await redriveFrom(bench, { maxMs: 0 })).toMatchObject({ messages: 0, done: false });
    expect((await receiveDead(bench)).length).toBe(3);
  });

  it("reaches a valid dead letter behind any number of undecodable ones", async () => {
    const bench = new ReplayBench({});
    await bench.queue.deadLetters.send(Array.from({ length: 15 }, () => garbage));
    await bench.queue.deadLetters.send([packMessage()]);

    expect(await redriveFrom(bench, { maxMessages: 1 })).toMatchObject({ messages: 1, undecodable: 15, done: false });
  });

  it("leaves a dead letter that cannot be decoded where it is", async () => {
    const bench = await benchWithDeadLetters(1);
    await bench.queue.deadLetters.send([garbage]);

    expect(await redriveFrom(bench)).toMatchObject({ messages: 1, requests: 1, undecodable: 1, done: true });
    expect(bench.queue.deadLetters.depth()).toEqual({ messages: 1, requests: 4 });
    expect((await receiveDead(bench)).length).toBe(1);
  });

  it("is done without a message if no dead letter has the id", async () => {
    const bench = await benchWithDeadLetters(2);

    expect(await redriveFrom(bench, { messageId: "4711" })).toMatchObject({ messages: 0, undecodable: 0, done: true });
    expect(bench.queue.deadLetters.depth().messages).toBe(2);
  });

  it.each([
    ["again what a queue moved whose clock is three days ahead", 3 * 86_400_000, 1],
    ["again what a queue moved whose clock is three days behind", -3 * 86_400_000, 1],
    ["not again what this redrive has sent before", 0, 0],
  ])("sends %s", async (_, aheadMs, messages) => {
    const bench = new ReplayBench({});
    const whole = pack({ requests: requests(1) });
    const moved = { ...whole, redrive: { count: 1, atMs: bench.nowMs + aheadMs } };
    await bench.queue.deadLetters.send([shareMessage(moved, whole.requests, { attempt: 1, reason: "refused" })]);

    expect(await redriveFrom(bench)).toMatchObject({ messages, newer: 1 - messages, done: true });
  });

  it("keeps packs that the queue refuses as dead letters, in the ledger as well", async () => {
    const { bench, before } = await benchWithSettledDeadLetters();
    const refuses = (taken: number) => ({
      maxMessageBytes: 1_000_000,
      async send(messages: readonly OutgoingMessage[]) {
        const errors = await bench.queue.send(messages.slice(0, taken));
        return [...errors, ...messages.slice(taken).map(() => new QueueError("UNAVAILABLE", "away"))];
      },
    });

    await expect(redriveFrom(bench, { queue: refuses(1) })).rejects.toThrow("away");

    expect(before).toEqual({ deadLettered: 3 });
    expect(await bench.fates()).toEqual({ deadLettered: 2 });
    expect(bench.queue.depth().messages).toBe(1);
    expect((await receiveDead(bench)).length).toBe(2);
  });

  it("keeps all dead letters if the queue does not answer", async () => {
    const { bench, before } = await benchWithSettledDeadLetters();
    const away = { maxMessageBytes: 1_000_000, send: () => Promise.reject(new QueueError("UNAVAILABLE", "away")) };

    await expect(redriveFrom(bench, { queue: away })).rejects.toThrow("away");

    expect(await bench.fates()).toEqual(before);
    expect((await receiveDead(bench)).length).toBe(3);
  });
});

const foreign = { messageId: "1", body: "x", pack: new Uint8Array(), sentAtMs: 0 };
const garbage = { body: "{}", pack: Buffer.from("garbage"), requests: 4 };

/** Three packs of one request each that the shadow did not accept. */
async function benchWithSettledDeadLetters() {
  const shadow = await ShadowServer.start(() => "reset");
  const bench = new ReplayBench({ url: shadow.url, attempts: 1 });
  for (let sequence = 0; sequence < 3; sequence++) await bench.send(packMessage({ sequence, requests: requests(1) }));
  await bench.replayAll();
  return { bench, before: await bench.fates() };
}

async function benchWithDeadLetters(count: number): Promise<ReplayBench> {
  const bench = new ReplayBench({});
  const packs = Array.from({ length: count }, (_, sequence) => pack({ sequence, requests: requests(1) }));
  const letters = packs.map((whole) => shareMessage(whole, whole.requests, { attempt: 3, reason: "refused" }));
  await bench.queue.deadLetters.send(letters);
  return bench;
}

async function redriveFrom(bench: ReplayBench, changes: Partial<RedriveOptions> = {}) {
  const { queue, state } = bench;
  const options = { queue, deadLetters: queue.deadLetters, target: "staging", ledger: state.ledger };
  return redrive({ ...options, startedAtMs: bench.nowMs, maxMessages: 100, maxMs: 10_000, waitMs: 0, ...changes });
}

async function receiveDead(bench: ReplayBench) {
  const { signal } = new AbortController();
  return bench.queue.deadLetters.receive({ max: 10, waitMs: 0, visibilityMs: 0, signal });
}
