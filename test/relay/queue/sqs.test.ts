import { type FauxqsServer, startFauxqs } from "fauxqs";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { maxMessageBytes, type OutgoingMessage } from "../../../relay/queue/port.ts";
import { openSqsQueue, SqsQueue, type SqsQueueOptions } from "../../../relay/queue/sqs.ts";
import { contractMaxReceives, describeQueue, message, receive, receiveAll } from "../../contract/queue-contract.ts";
import { answerBatch, refuse, type SqsAnswer, SqsEndpoint } from "../../support/aws/sqs-endpoint.ts";
import { until } from "../../support/clocks/until.ts";
import { freePorts } from "../../support/servers/free-ports.ts";

// SQS also counts the name and the type of the pack's attribute: "pack" and "Binary".
const overheadBytes = 10;
let emulator: FauxqsServer;
let queues = 0;

beforeAll(async () => {
  emulator = await startFauxqs({ port: 0, logger: false });
});

afterAll(async () => {
  await emulator.stop();
});

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describeQueue(
  "SqsQueue",
  async () => {
    const deadLetters = createQueue();
    const dead = { deadLetterTargetArn: deadLetters.arn, maxReceiveCount: contractMaxReceives };
    const queue = new SqsQueue({ url: createQueue({ RedrivePolicy: JSON.stringify(dead) }).url });
    const dlq = new SqsQueue({ url: deadLetters.url });
    const close = () => {
      queue.close();
      dlq.close();
    };
    return { queue, deadLetters: dlq, close };
  },
  { noAstralCharacters: "fauxqs 2.4.1 refuses surrogate pairs, which SQS accepts" },
);

describe("SqsQueue: sending", () => {
  it("fills batches with ten messages", async () => {
    const { queue, batches } = await openRecorded();

    await queue.send(Array.from({ length: 25 }, (_, i) => message({ body: `m${i}` })));

    expect(batches().map((bodies) => bodies.length)).toEqual([10, 10, 5]);
    expect(batches().flat()).toEqual(Array.from({ length: 25 }, (_, i) => `m${i}`));
  });

  it.each([
    ["one batch to the last byte that SQS accepts", 0, [["a", "b"], ["c"]]],
    ["a second batch for one byte more", 1, [["a"], ["b", "c"]]],
  ])("fills %s", async (_, excessBytes, expected) => {
    const { queue, batches } = await openRecorded();
    const halfBytes = maxMessageBytes / 2 - overheadBytes - 1;
    const half = (body: string, bytes: number) => message({ body, pack: new Uint8Array(bytes) });

    await queue.send([half("a", halfBytes), half("b", halfBytes + excessBytes), half("c", 10)]);

    expect(batches()).toEqual(expected);
  });

  it("sends the largest possible message, and nothing larger", async () => {
    const { queue, batches } = await openRecorded();
    const largest = message({ body: "x", pack: new Uint8Array(maxMessageBytes - overheadBytes - 1) });
    const larger = message({ body: "xx", pack: largest.pack });

    const errors = await queue.send([largest, larger]);

    expect(queue.maxMessageBytes).toBe(maxMessageBytes - overheadBytes);
    expect(errors.map((error) => error?.code)).toEqual([undefined, "TOO_BIG"]);
    expect(batches()).toEqual([["x"]]);
  });

  it("sends a message without a pack without the attribute, because SQS refuses an empty value", async () => {
    const { queue, endpoint } = await openRecorded();

    await queue.send([message({ body: "hello", pack: new Uint8Array() })]);

    expect(endpoint.requests[0].body.Entries).toEqual([{ Id: "0", MessageBody: "hello" }]);
  });

  it("rounds a delay up to whole seconds", async () => {
    const { queue, endpoint } = await openRecorded();

    await queue.send([message(), message({ delayMs: 1 }), message({ delayMs: 1_000 }), message({ delayMs: 1_001 })]);

    const [{ body }] = endpoint.requests;
    expect(body.Entries.map(({ DelaySeconds }: { DelaySeconds?: number }) => DelaySeconds)).toEqual([
      undefined,
      1,
      1,
      2,
    ]);
  });

  it("signs for the region of the URL", async () => {
    const { queue, endpoint } = await openRecorded();

    await queue.send([message()]);

    expect(endpoint.requests[0].authorization).toContain("/us-east-1/sqs/aws4_request");
  });

  it("returns an error for each entry that failed, and for no other", async () => {
    const failed = {
      1: { Code: "InternalError", SenderFault: false },
      2: { Code: "InvalidMessageContents", SenderFault: true },
      3: { Code: "RequestThrottled", SenderFault: true },
      5: { Code: "KmsAccessDenied", SenderFault: true },
      6: { Code: "InvalidParameterValue", SenderFault: true, Message: "Message must be shorter than 262144 bytes." },
      7: { Code: "AccessDenied", SenderFault: true },
    };
    const { queue } = await open(({ body }) => answerBatch(body, failed));

    const errors = await queue.send(Array.from({ length: 9 }, () => message()));

    expect(errors.map((error) => error?.code)).toEqual([
      undefined,
      "UNAVAILABLE",
      "BAD_ARGUMENT",
      "UNAVAILABLE",
      undefined,
      "DENIED",
      "TOO_BIG",
      "DENIED",
      undefined,
    ]);
  });

  it("does not count a message as stored if the answer does not mention it", async () => {
    const { queue } = await open(() => ({}));

    expect((await queue.send([message(), message()])).map((error) => error?.code)).toEqual([
      "UNAVAILABLE",
      "UNAVAILABLE",
    ]);
  });

  it("sends smaller batches if the queue is configured for smaller messages than SQS allows", async () => {
    const limitBytes = 262_144;
    const taken: string[] = [];
    const { queue } = await open(({ body }, response) => {
      const entries = body.Entries as { MessageBody: string; MessageAttributes: { pack: { BinaryValue: string } } }[];
      const bytes = entries.reduce((sum, entry) => sum + (entry.MessageAttributes.pack.BinaryValue.length * 3) / 4, 0);
      if (bytes > limitBytes) return refuse(response, 400, "BatchRequestTooLong", "cannot be longer than 262144 bytes");
      taken.push(...entries.map(({ MessageBody }) => MessageBody));
      return answerBatch(body);
    });
    const sizes = [100_000, 100_000, 300_000, 100_000, 100_000];

    const errors = await queue.send(sizes.map((bytes, i) => message({ body: `${i}`, pack: new Uint8Array(bytes) })));

    expect(errors.map((error) => error?.code)).toEqual([undefined, undefined, "TOO_BIG", undefined, undefined]);
    expect(errors[2]?.message).toContain("MaximumMessageSize");
    expect(taken).toEqual(["0", "1", "3", "4"]);
  });

  it("finds the one message that makes SQS reject the whole batch", async () => {
    const { queue } = await open(({ body }, response) =>
      body.Entries.some(({ MessageBody }: { MessageBody: string }) => MessageBody === "bad")
        ? refuse(response, 400, "InvalidMessageContents")
        : answerBatch(body),
    );

    const errors = await queue.send(["a", "b", "bad", "c", "d"].map((body) => message({ body })));

    expect(errors.map((error) => error?.code)).toEqual([undefined, undefined, "BAD_ARGUMENT", undefined, undefined]);
  });

  it("tries no further batches once the queue cannot be reached, and returns that error for each message", async () => {
    const { queue, endpoint } = await open((_, response) => refuse(response, 400, "QueueDoesNotExist"));

    const errors = await queue.send(Array.from({ length: 25 }, () => message()));

    expect(errors.map((error) => error?.code)).toEqual(errors.map(() => "UNAVAILABLE"));
    expect(endpoint.requests).toHaveLength(1);
  });
});

describe("SqsQueue: errors", () => {
  const answers: readonly (readonly [string, SqsAnswer, string, RegExp])[] = [
    ["throttling", (_, to) => refuse(to, 400, "ThrottlingException"), "UNAVAILABLE", /throttles/],
    ["throttling with 403", (_, to) => refuse(to, 403, "RequestThrottled"), "UNAVAILABLE", /throttles/],
    ["500", (_, to) => refuse(to, 500, "InternalError"), "UNAVAILABLE", /HTTP 500/],
    ["503 of a proxy", (_, to) => void to.writeHead(503).end("<html>busy"), "UNAVAILABLE", /HTTP 503/],
    [
      "no access",
      (_, to) => refuse(to, 403, "AccessDeniedException"),
      "DENIED",
      /are not allowed to call sqs:ReceiveMessage on http/,
    ],
    [
      "403 of a proxy",
      (_, to) => void to.writeHead(403).end("<html>no"),
      "DENIED",
      /are not allowed to call sqs:ReceiveMessage on http/,
    ],
    ["unknown key", (_, to) => refuse(to, 403, "InvalidClientTokenId"), "DENIED", /check AWS_ACCESS_KEY_ID/],
    ["old token", (_, to) => refuse(to, 403, "ExpiredTokenException"), "DENIED", /expired: renew/],
    [
      "wrong secret",
      (_, to) => refuse(to, 403, "SignatureDoesNotMatch"),
      "DENIED",
      /AWS_SECRET_ACCESS_KEY and the clock/,
    ],
    ["KMS", (_, to) => refuse(to, 400, "KmsDisabled"), "DENIED", /KMS key/],
    [
      "no such queue",
      (_, to) => refuse(to, 400, "QueueDoesNotExist"),
      "UNAVAILABLE",
      /there is no queue http.*create it/,
    ],
    ["400 of a proxy", (_, to) => void to.writeHead(400).end("<html>what?"), "UNAVAILABLE", /HTTP 400/],
    [
      "200 of a proxy",
      (_, to) => void to.writeHead(200).end("<html>welcome"),
      "UNAVAILABLE",
      /sqs:ReceiveMessage on http.* failed/,
    ],
    ["a reset", (_, to) => void to.socket?.resetAndDestroy(), "UNAVAILABLE", /does not answer: check the network/],
    ["no answer at all", () => undefined, "UNAVAILABLE", /no answer within 2500 ms/],
    [
      "an answer that ends half way",
      (_, to) => {
        to.writeHead(200, { "content-length": "100" }).write("{");
        return undefined;
      },
      "UNAVAILABLE",
      /no answer within 2500 ms/,
    ],
  ];

  it.concurrent.each(answers)("say what to do: %s", async (_, answer, code, text) => {
    const endpoint = await SqsEndpoint.start(answer);
    // Only calls without an answer have a short timeout: a slow machine takes long to answer.
    const callTimeoutMs = text.test("no answer within 2500 ms") ? 2_500 : 30_000;
    const queue = new SqsQueue({ url: endpoint.url, callTimeoutMs });
    const startMs = performance.now();

    await expect(receive(queue)).rejects.toMatchObject({
      name: "QueueError",
      code,
      message: expect.stringMatching(text),
    });
    expect(performance.now() - startMs).toBeLessThan(15_000);
    queue.close();
  });

  it("name the refused connection", async () => {
    const [port] = await freePorts(1);
    const queue = new SqsQueue({ url: `http://127.0.0.1:${port}/123456789012/packs` });

    const [error] = await queue.send([message()]);

    expect(error).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("ECONNREFUSED") });
  });

  it("name the missing credentials", async () => {
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"]) vi.stubEnv(name, undefined);
    vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vi.stubEnv("AWS_CONFIG_FILE", "/nonexistent");
    vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    const { queue } = await open(({ body }) => answerBatch(body));

    const [error] = await queue.send([message()]);

    expect(error).toMatchObject({ code: "DENIED", message: expect.stringContaining("AWS_PROFILE") });
  });
});

describe("SqsQueue: receiving", () => {
  it("ends a long poll at once when the signal is aborted", async () => {
    const { queue, endpoint } = await open(() => undefined);
    const abort = new AbortController();
    const waiting = receive(queue, { waitMs: 20_000, signal: abort.signal });
    await until(() => endpoint.requests.length === 1);
    const startMs = performance.now();

    abort.abort();

    expect(await waiting).toEqual([]);
    // Long before the poll ends.
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });

  it("waits in polls of at most 20 seconds", async () => {
    const abort = new AbortController();
    const { queue, endpoint } = await open(() => {
      if (endpoint.requests.length === 3) abort.abort();
      return {};
    });

    expect(await receive(queue, { waitMs: 45_000, visibilityMs: 1_500, signal: abort.signal })).toEqual([]);

    expect(endpoint.requests.map(({ body }) => body.WaitTimeSeconds)).toEqual([20, 20, 20]);
    expect(endpoint.requests[0].body).toMatchObject({ VisibilityTimeout: 2, MaxNumberOfMessages: 10 });
  });

  it("delivers a message without a pack with an empty pack", async () => {
    const { name, url } = createQueue();
    const queue = new SqsQueue({ url });
    emulator.sendMessage(name, "hello");

    const [delivery] = await receiveAll(queue, 1);

    expect([delivery.body, delivery.pack.length]).toEqual(["hello", 0]);
  });

  it("deletes ten messages per call, ignores old receipts, and throws if a message was not deleted", async () => {
    let failed: Parameters<typeof answerBatch>[1] = {};
    const { queue, endpoint } = await open(({ body }) => answerBatch(body, failed));
    const receipts = Array.from({ length: 25 }, (_, i) => `r${i}`);

    await queue.delete(receipts);
    failed = { 0: { Code: "ReceiptHandleIsInvalid", SenderFault: true } };
    await queue.delete(["old"]);
    failed = {
      0: { Code: "ReceiptHandleIsInvalid", SenderFault: true },
      1: { Code: "InternalError", SenderFault: false },
    };

    await expect(queue.delete(["old", "new"])).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await queue.delete([]);
    expect(endpoint.requests.map(({ body }) => body.Entries.length)).toEqual([10, 10, 5, 1, 2]);
  });

  it.each([
    ["ReceiptHandleIsInvalid", "it is not"],
    ["MessageNotInflight", "it is not"],
    [
      "InvalidParameterValue",
      "Value x for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
    ],
  ])("ignores a receipt that can no longer be extended: %s, %s", async (code, text) => {
    const { queue } = await open((_, response) => refuse(response, 400, code, text));

    await queue.extend("old", 1_000);
  });

  it("throws if an extension is too long, and rounds it up to whole seconds", async () => {
    const text =
      "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout is beyond the limit.";
    const { queue, endpoint } = await open((_, response) => refuse(response, 400, "InvalidParameterValue", text));

    await expect(queue.extend("r", 1_500)).rejects.toMatchObject({ code: "BAD_ARGUMENT" });
    expect(endpoint.requests[0].body.VisibilityTimeout).toBe(2);
  });

  it("includes delayed messages and messages in flight in its depth", async () => {
    const queue = new SqsQueue({ url: createQueue().url });
    await queue.send([message(), message(), message({ delayMs: 60_000 })]);
    await receiveAll(queue, 1);

    expect(await queue.depth()).toEqual({ messages: 3 });
  });
});

describe("SqsQueue: browsing", () => {
  it("shows all messages, which can still be received", async () => {
    const queue = new SqsQueue({ url: createQueue().url });
    onTestFinished(() => queue.close());
    const sent = Array.from({ length: 23 }, (_, i) => message({ body: `m${i}`, pack: Uint8Array.of(i) }));
    await queue.send(sent);

    for (let look = 0; look < 2; look++) {
      const letters = await queue.browse(1_000);
      expect(new Set(letters.map(({ body, pack }) => `${body} ${pack}`))).toEqual(
        new Set(sent.map(({ body, pack }) => `${body} ${pack}`)),
      );
      expect(letters).toHaveLength(23);
    }

    expect(await receiveAll(queue, 23)).toHaveLength(23);
  });

  it("shows messages in the order of sending", async () => {
    const times = [3, 1, 2].map((ms) => ({ MessageId: `${ms}`, Attributes: { SentTimestamp: `${ms}` } }));
    const { queue } = await open(({ action, body }) =>
      action === "ReceiveMessage" ? { Messages: times } : answerBatch(body),
    );

    expect(await queue.browse(3)).toEqual(
      [1, 2, 3].map((ms) => ({ messageId: `${ms}`, body: "", pack: new Uint8Array(), sentAtMs: ms })),
    );
  });

  it.each([1, 10, 12])("shows at most %d messages, and hides none of the others", async (max) => {
    const queue = new SqsQueue({ url: createQueue().url });
    onTestFinished(() => queue.close());
    await queue.send(Array.from({ length: 15 }, (_, i) => message({ body: `m${i}` })));

    expect(await queue.browse(max)).toHaveLength(max);

    expect(await receiveAll(queue, 15)).toHaveLength(15);
  });

  it("shows nothing for an empty queue", async () => {
    const queue = new SqsQueue({ url: createQueue().url });
    onTestFinished(() => queue.close());

    expect(await queue.browse(10)).toEqual([]);
  });

  it("shows a message that is not from spoa-relay with an empty pack", async () => {
    const { name, url } = createQueue();
    const queue = new SqsQueue({ url });
    onTestFinished(() => queue.close());
    emulator.sendMessage(name, "hello");

    expect(await queue.browse(10)).toMatchObject([{ body: "hello", pack: new Uint8Array() }]);
  });

  it("makes ten messages per call visible again, even after an error, and ignores those that others have received", async () => {
    let receives = 0;
    const { queue, endpoint } = await open(({ action, body }, response) => {
      if (action !== "ReceiveMessage") {
        return answerBatch(body, { 0: { Code: "ReceiptHandleIsInvalid", SenderFault: true } });
      }
      if (++receives > 2) return refuse(response, 403, "AccessDeniedException");
      const messages = Array.from({ length: 10 }, (_, i) => `${receives}-${i}`);
      return { Messages: messages.map((id) => ({ MessageId: id, ReceiptHandle: `r${id}`, Body: "{}" })) };
    });

    await expect(queue.browse(100)).rejects.toMatchObject({ code: "DENIED" });

    const shown = endpoint.requests.filter(({ action }) => action === "ChangeMessageVisibilityBatch");
    expect(shown.map(({ body }) => body.Entries.length)).toEqual([10, 10]);
    expect(shown[1].body.Entries[9]).toEqual({ Id: "9", ReceiptHandle: "r2-9", VisibilityTimeout: 0 });
  });

  it("ends if it only receives the same messages again", async () => {
    const messages = ["a", "b"].map((id) => ({ MessageId: id, ReceiptHandle: id, Body: id }));
    const { queue, endpoint } = await open(({ action, body }) =>
      action === "ReceiveMessage" ? { Messages: messages } : answerBatch(body),
    );

    expect(await queue.browse(10)).toHaveLength(2);
    expect(endpoint.requests.filter(({ action }) => action === "ReceiveMessage")).toHaveLength(2);
  });
});

describe("openSqsQueue", () => {
  it("opens a queue with its dead letters, and counts the messages of both", async () => {
    const { name, url } = createQueue();
    emulator.createQueue(`${name}-dlq`);
    const opened = openSqsQueue(url);
    onTestFinished(() => opened.close());

    await opened.queue.send([message({ body: "a" }), message({ body: "b" })]);
    await opened.deadLetters.send([message({ body: "dead" })]);

    expect(await opened.backlog()).toEqual({ messages: 2, deadMessages: 1 });
    expect((await opened.deadLetters.browse(10)).map(({ body }) => body)).toEqual(["dead"]);
  });

  it("keeps the connections that other queues share when one is closed", async () => {
    const connections = new Set<unknown>();
    const endpoint = await SqsEndpoint.start(({ body }, response) => {
      connections.add(response.socket);
      return answerBatch(body);
    });
    const [first, second, third] = ["a", "b", "c"].map((name) => new SqsQueue({ url: `${endpoint.url}-${name}` }));
    await first.send([message()]);

    first.close();
    first.close();
    second.close();
    const [error] = await third.send([message()]);

    expect(error).toBeUndefined();
    third.close();
    expect(connections.size).toBe(1);
  });
});

function createQueue(attributes: Record<string, string> = {}): { name: string; arn: string; url: string } {
  const name = `q${++queues}`;
  const { queueArn } = emulator.createQueue(name, { attributes });
  return { name, arn: queueArn, url: `http://127.0.0.1:${emulator.port}/000000000000/${name}` };
}

async function open(answer: SqsAnswer, options: Partial<SqsQueueOptions> = {}) {
  const endpoint = await SqsEndpoint.start(answer);
  const queue = new SqsQueue({ url: endpoint.url, ...options });
  onTestFinished(() => queue.close());
  return { queue, endpoint };
}

/** A queue that accepts everything, and the bodies of each batch that it received. */
async function openRecorded() {
  const { queue, endpoint } = await open(({ body }) => answerBatch(body));
  const batches = () =>
    endpoint.requests.map(({ body }) =>
      body.Entries.map((entry: { MessageBody: OutgoingMessage["body"] }) => entry.MessageBody),
    );
  return { queue, endpoint, batches };
}
