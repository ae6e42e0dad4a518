import { describe, expect, it } from "vitest";
import { describeDeadLetter, redrive } from "../../relay/dead-letters.ts";
import { shareMessage } from "../../relay/message.ts";
import { pack, packIn, packMessage, requests } from "../support/packs.ts";
import { ReplayBench } from "../support/replay-bench.ts";
import { ShadowServer } from "../support/shadow-server.ts";

describe("describeDeadLetter", () => {
  it("names number, requests, time and reason", async () => {
    const bench = new ReplayBench({});
    const whole = pack({ requests: requests(2, { capturedAtMs: 1_790_000_000_000 }) });
    await bench.queue.deadLetters.send([shareMessage(whole, whole.requests, { attempt: 3, reason: "refused" })]);
    const [letter] = bench.queue.deadLetters.list({ max: 10 });

    expect(describeDeadLetter(letter)).toEqual({
      messageId: letter.messageId,
      requests: 2,
      reason: "refused",
      firstCapturedAt: "2026-09-21T14:13:20.000Z",
    });
  });

  it.each([
    ["the queue's own reason", { body: "{}", reason: "received 100 times" }, "received 100 times"],
    ["the reason of a body that is no summary", { body: '{"reason":"no pack"}' }, "no pack"],
    ["nothing", { body: "x" }, "unknown"],
    ["no control characters", { body: '{"reason":"a\\u001b[2Jb\\n"}' }, "a\\x1b[2Jb\\x0a"],
  ])("finds %s", (_, letter, reason) => {
    expect(describeDeadLetter({ messageId: "1", requests: 1, ...letter }).reason).toBe(reason);
  });
});

describe("redrive", () => {
  it("sends dead letters again from their first attempt, and the ledger follows", async () => {
    const shadow = await ShadowServer.start(({ path }) => (path === "/0" ? { status: 200 } : "reset"));
    const bench = new ReplayBench({ url: shadow.url, attempts: 1 });
    await bench.send(packMessage({ requests: requests(3) }));
    await bench.replayAll();
    const before = await bench.fates();
    shadow.behaviour = () => ({ status: 201 });
    const redriven = await redriveAll(bench);
    const between = await bench.fates();
    const [delivery] = await bench.receive();
    await bench.invoke([delivery]);

    expect(before).toEqual({ "answered.2xx": 1, deadLettered: 2 });
    expect(redriven).toEqual({ requests: 2, undecodable: 0 });
    expect(between).toEqual({ "answered.2xx": 1 });
    expect(packIn(delivery)).toMatchObject({ id: pack().id, attempt: 0 });
    expect(await bench.fates()).toEqual({ "answered.2xx": 3 });
    expect(bench.deadLetters()).toEqual([]);
    expect(shadow.paths.filter((path) => path === "/0").length).toBe(1);
  });

  it("sends only the one that is named, and leaves the others to be received at once", async () => {
    const bench = await benchWithDeadLetters(25);
    const letters = bench.queue.deadLetters.list({ max: 100 });
    const redriven = await redriveAll(bench, letters[13].messageId);

    expect(redriven).toEqual({ requests: 1, undecodable: 0 });
    expect(packIn((await bench.receive())[0]).sequence).toBe(13);
    expect((await receiveDead(bench)).length).toBe(10);
    expect(bench.queue.deadLetters.depth().messages).toBe(24);
  });

  it("sends all of them, however many there are", async () => {
    const bench = await benchWithDeadLetters(25);

    expect(await redriveAll(bench)).toEqual({ requests: 25, undecodable: 0 });
    expect(bench.queue.depth().requests).toBe(25);
    expect(bench.queue.deadLetters.depth().messages).toBe(0);
  });

  it("leaves what cannot be decoded where it is", async () => {
    const bench = await benchWithDeadLetters(1);
    await bench.queue.deadLetters.send([{ body: "{}", pack: Buffer.from("garbage"), requests: 4 }]);

    expect(await redriveAll(bench)).toEqual({ requests: 1, undecodable: 1 });
    expect(bench.queue.deadLetters.depth()).toEqual({ messages: 1, requests: 4 });
    expect((await receiveDead(bench)).length).toBe(1);
  });

  it("finds no letter of that number", async () => {
    const bench = await benchWithDeadLetters(2);

    expect(await redriveAll(bench, "4711")).toEqual({ requests: 0, undecodable: 0 });
    expect(bench.queue.deadLetters.depth().messages).toBe(2);
  });
});

async function benchWithDeadLetters(count: number): Promise<ReplayBench> {
  const bench = new ReplayBench({});
  const packs = Array.from({ length: count }, (_, sequence) => pack({ sequence, requests: requests(1) }));
  const letters = packs.map((whole) => shareMessage(whole, whole.requests, { attempt: 3, reason: "refused" }));
  await bench.queue.deadLetters.send(letters);
  return bench;
}

async function redriveAll(bench: ReplayBench, messageId?: string) {
  return redrive("staging", bench.queue, bench.queue.deadLetters, bench.state, messageId);
}

async function receiveDead(bench: ReplayBench) {
  const { signal } = new AbortController();
  return bench.queue.deadLetters.receive({ max: 10, waitMs: 0, visibilityMs: 0, signal });
}
