import type { OutgoingMessage, QueueSender } from "./port.ts";

/** Sends all messages, or throws the first `QueueError`, whether it concerns one message or the whole call. */
export async function sendAll(queue: QueueSender, messages: readonly OutgoingMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const results = await queue.send(messages);
  const error = results.find((result) => result !== undefined);
  if (error) throw error;
}
