import { parseSqsEvent } from "../../../functions/sqs-event.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { sealPack } from "../../../relay/pack/envelope.ts";
import { offsetOf } from "../../../relay/queue/job-mark.ts";
import {
  anew,
  forwardMessage,
  hasJobMark,
  readMessage,
  returnMessage,
  returnUnread,
  shareMessage,
  withoutMarks,
} from "../../../relay/queue/message.ts";
import { findMessageMistake } from "../../../relay/queue/message-mistake.ts";
import { findTextMistake } from "../../../relay/queue/message-text.ts";
import { poisonMessage } from "../../../relay/queue/poison.ts";
import type { Delivery, OutgoingMessage } from "../../../relay/queue/port.ts";
import { packContent } from "../../support/data/captured-requests.ts";
import { assertSame, assertTrue, type FileKind, type Verdict } from "./file-kind.ts";
import { checkError, checkPack } from "./packs.ts";

const maxMessageBytes = 1_048_576;
const sealed = sealPack(packContent({ requests: [{}, { id: "", method: "GET" }] }));
const summary = {
  v: 1,
  pack: "000102030405060708090a0b0c0d0e0f",
  agent: "edge-1~0badcafe",
  seq: 7,
  count: 2,
  bytes: 400,
  first: "2026-01-02T03:04:05.678Z",
  last: "2026-01-02T03:04:05.678Z",
};
const marked = {
  ...summary,
  attempt: 3,
  since: 1_767_323_045_678,
  held: [5, 1_234],
  reason: "HTTP 503 “é” \ud83d\ude00",
  redrive: { count: 2, at: "2026-01-02T03:04:05.678Z" },
  job: { id: "20260102-030405-abc", base: -1_767_323_045_678.5 },
};
const marks = [
  ...'"attempt":|"since":|"held":|"job":|"redrive":|"reason":|"count":|"at":|"base":|"id":|"v":1|null|{}|[]|true|-1|1e999|"'.split(
    "|",
  ),
  ..."2026-02-30T00:00:00Z|2026-12-31T23:59:60Z|2026-01-01T24:00:00Z|0000-01-01T00:00:00Z|9999-12-31T23:59:59.999999999Z".split(
    "|",
  ),
  ..."\\ud800|\\uffff|\uffff|\ufffe|\\u0000|4294967295|4294967296|8640000000000001|__proto__|Binary|U1JQSw==".split(
    "|",
  ),
];
const event = {
  Records: [marked, summary].map((body, i) => ({
    messageId: `m${i}`,
    receiptHandle: `r${i}`,
    body: JSON.stringify(body),
    attributes: { ApproximateReceiveCount: "1", SentTimestamp: "1767323045678" },
    messageAttributes: { pack: { dataType: "Binary", binaryValue: sealed.toString("base64") } },
  })),
};

/** The bodies of messages, each with the same pack. */
export const messageBodies: FileKind = {
  name: "message body",
  seeds: [summary, marked, { reason: "it cannot be decoded", body: "hello" }].map((body) => ({
    bytes: Buffer.from(JSON.stringify(body)),
    accepted: 2,
    refused: 0,
  })),
  share: 60,
  marks,
  read: (bytes) => checkDelivery(toDelivery(bytes.toString(), sealed)),
};

/** What Lambda is called with. */
export const sqsEvents: FileKind = {
  name: "SQS event",
  seeds: [{ bytes: Buffer.from(JSON.stringify(event)), accepted: 4, refused: 0 }],
  share: 40,
  marks,
  read: (bytes) => {
    let deliveries: readonly Delivery[];
    try {
      deliveries = parseSqsEvent(JSON.parse(bytes.toString()));
    } catch (error) {
      // The call fails, and SQS delivers its messages again.
      assertTrue(/^(?:SyntaxError|ZodError)$/.test((error as Error).name), () => `${error}`);
      return { accepted: 0, refused: 1 };
    }
    const all = deliveries.map(checkDelivery);
    return {
      accepted: all.reduce((sum, { accepted }) => sum + accepted, 0),
      refused: all.reduce((sum, { refused }) => sum + refused, 0),
    };
  },
};

function toDelivery(body: string, pack: Uint8Array): Delivery {
  return { messageId: "m", receipt: "r", body, pack, receiveCount: 1, sentAtMs: 1_767_323_045_679 };
}

/** Whatever the body is, the requests of the pack can be sent on, put back, or become dead letters with the same marks. */
function checkDelivery(delivery: Delivery): Verdict {
  const isStorable = findTextMistake(delivery.body) === undefined;
  hasJobMark(delivery.body);
  const poison = poisonMessage(delivery, "it cannot be\ndecoded \ud800", { maxMessageBytes });
  checkMessage(poison, true);
  checkMessage(poisonMessage(delivery, "r".repeat(2_000), { maxMessageBytes: delivery.pack.length + 300 }), true);
  checkMessage(returnUnread(delivery), isStorable);
  const pack = readMessage(delivery);
  if (pack instanceof DecodeError) return checkError(pack, delivery.pack.length + 400);
  checkPack(pack);
  const { queuedAtMs } = pack;
  const laterMs = (queuedAtMs ?? delivery.sentAtMs) + 1_234.5;
  checkMessage(forwardMessage(delivery, pack, laterMs), isStorable);
  checkMessage(returnMessage(delivery, pack), isStorable);
  const bare = readMessage(withoutMarks(delivery, ["job", "redrive"]));
  assertTrue(!(bare instanceof DecodeError) && !bare.job && !bare.redrive, "a mark is left");
  // One that is invalid makes all of them count for nothing.
  if (pack.job || pack.redrive) assertSame(bare.attempt, pack.attempt, "the attempts of a message without marks");
  // SQS itself writes the time when a message was sent.
  if (pack.requests.length === 0 || delivery.sentAtMs > 8.64e15) return { accepted: pack.requests.length, refused: 0 };
  const shared = shareMessage(pack, pack.requests, { attempt: pack.attempt, reason: delivery.body.slice(0, 100) });
  checkMessage(shared, true);
  const again = readMessage({ ...shared, sentAtMs: delivery.sentAtMs });
  assertTrue(!(again instanceof DecodeError), () => `a share cannot be read: ${again}`);
  const marksOf = ({ attempt, queuedAtMs, held, job, redrive }: typeof pack) => ({
    attempt,
    queuedAtMs,
    held,
    job,
    redrive,
  });
  assertSame(marksOf(again), marksOf(pack), "the marks of a share");
  const held = pack.held?.map(
    (ms) => ms + (queuedAtMs === undefined ? 0 : Math.max(0, Math.floor(laterMs - queuedAtMs))),
  );
  assertSame(
    marksOf(anew(again, laterMs)),
    { ...marksOf(pack), queuedAtMs: undefined, held },
    "the marks of a message put back",
  );
  for (const request of pack.requests) {
    if (pack.job) offsetOf({ kind: "speed", factor: 2 }, pack.job, request);
  }
  return { accepted: pack.requests.length, refused: 0 };
}

/** A queue would accept it, if it accepted the message that it was made from. */
function checkMessage(message: OutgoingMessage, isStorable: boolean): void {
  const mistake = findMessageMistake(message, maxMessageBytes);
  assertTrue(mistake === undefined || !isStorable, () => `no queue takes a message: ${mistake?.message}`);
}
