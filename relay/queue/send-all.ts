import type { OutgoingMessage, QueueSender } from "./port.ts";

/** Sends messages of which none may be missing. Throws the first `QueueError`, whether of one message or of all. */
export async function sendAll(queue: QueueSender, messages: readonly OutgoingMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const results = await queue.send(messages);
  const error = results.find((result) => result !== undefined);
  if (error) throw error;
}
