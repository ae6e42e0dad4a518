import type { PackedRequest } from "../pack/pack.ts";
import { type MessagePack, maxReasonBytes, type ShareOptions, shareMessage, toMarks } from "./message.ts";
import { shorten, toMessageText } from "./message-text.ts";
import { type OutgoingMessage, QueueError, type QueueSender, reservedBytes } from "./port.ts";

/** Messages for requests of a pack. */
export interface Fitted {
  readonly shares: readonly { readonly message: OutgoingMessage; readonly requests: readonly PackedRequest[] }[];
  /** Requests that fit into no message. Only another program can have sent them. */
  readonly unfit: readonly PackedRequest[];
}

/**
 * One message with some requests of a pack, or several if one would be larger than a queue accepts. The pack of a single request
 * that was sent before `reservedBytes` was left free keeps its bytes, and the summary, which repeats what is in it, makes room for
 * the marks and for the beginning of the reason.
 */
export function fitShares(
  pack: MessagePack,
  requests: readonly PackedRequest[],
  options: ShareOptions,
  { maxMessageBytes }: Pick<QueueSender, "maxMessageBytes">,
): Fitted {
  if (requests.length === 0) return { shares: [], unfit: [] };
  const message = shareMessage(pack, requests, options);
  if (messageBytes(message) <= maxMessageBytes) return { shares: [{ message, requests }], unfit: [] };
  if (requests.length > 1) {
    const half = Math.ceil(requests.length / 2);
    const halves = [requests.slice(0, half), requests.slice(half)];
    const fitted = halves.map((part) => fitShares(pack, part, options, { maxMessageBytes }));
    return { shares: fitted.flatMap(({ shares }) => shares), unfit: fitted.flatMap(({ unfit }) => unfit) };
  }
  // Compressed again, the same request may have a few bytes more.
  const whole = pack.requests.length === 1 && pack.sealed !== undefined && pack.sealed.length < message.pack.length;
  const sealed = whole ? (pack.sealed as Uint8Array) : message.pack;
  const bodies = [
    () => withAttempt(message.body, options),
    () => leanBody(pack, options, maxMessageBytes - sealed.length),
  ];
  for (const toBody of bodies) {
    const fitting = { ...message, body: toBody(), pack: sealed };
    if (messageBytes(fitting) <= maxMessageBytes) return { shares: [{ message: fitting, requests }], unfit: [] };
  }
  return { shares: [], unfit: requests };
}

/** A sender for packs that enter a queue for the first time: refuses those that leave less than `reservedBytes` free. */
export function leaveRoom(queue: QueueSender): QueueSender {
  const maxMessageBytes = queue.maxMessageBytes - reservedBytes;
  return {
    maxMessageBytes,
    async send(messages) {
      const errors = messages.map((message) => findExcess(message, maxMessageBytes));
      const fitting = messages.filter((_, i) => errors[i] === undefined);
      const results = [...(fitting.length > 0 ? await queue.send(fitting) : [])];
      return errors.map((error) => error ?? results.shift());
    },
  };
}

/** What a queue counts. */
export function messageBytes({ body, pack }: Pick<OutgoingMessage, "body" | "pack">): number {
  return Buffer.byteLength(body) + pack.length;
}

function findExcess(message: OutgoingMessage, maxBytes: number): QueueError | undefined {
  const bytes = messageBytes(message);
  if (bytes <= maxBytes) return undefined;
  return new QueueError(
    "TOO_BIG",
    `the message has ${bytes} bytes; at most ${maxBytes} are allowed, so that a reason can be added if it becomes a dead letter`,
  );
}

/** The number of attempts also if it is 0: the bytes of the pack may have another number. */
function withAttempt(body: string, { attempt }: ShareOptions): string {
  return toMessageText({ ...JSON.parse(body), attempt });
}

/** The marks alone, with as much of the reason as there is room for. */
function leanBody(pack: MessagePack, { attempt, reason }: ShareOptions, maxBytes: number): string {
  const marks = { v: 1, attempt, ...toMarks(pack) };
  if (reason === undefined) return toMessageText(marks);
  const room = maxBytes - Buffer.byteLength(toMessageText({ ...marks, reason: "" }));
  const kept = shorten(reason, Math.min(room, maxReasonBytes));
  return toMessageText(kept === "" ? marks : { ...marks, reason: kept });
}
