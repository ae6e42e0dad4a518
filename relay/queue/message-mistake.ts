import { findTextMistake } from "./message-text.ts";
import { maxDelayMs, type OutgoingMessage, QueueError } from "./port.ts";

/** Why a queue refuses a message; undefined if it is valid. */
export function findMessageMistake(
  { body, pack, delayMs = 0 }: OutgoingMessage,
  maxMessageBytes: number,
): QueueError | undefined {
  const bytes = Buffer.byteLength(body) + pack.length;
  if (bytes > maxMessageBytes) {
    return new QueueError("TOO_BIG", `the message has ${bytes} bytes; at most ${maxMessageBytes} are allowed`);
  }
  const mistake = findTextMistake(body);
  if (mistake !== undefined) return new QueueError("BAD_ARGUMENT", mistake);
  if (delayMs >= 0 && delayMs <= maxDelayMs) return undefined;
  return new QueueError("BAD_ARGUMENT", `the delay is ${delayMs} ms; 0 to ${maxDelayMs} ms are allowed`);
}
