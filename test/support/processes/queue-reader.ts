import { once } from "node:events";
import { writeSync } from "node:fs";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";

// Prints `ready`, waits for a line, receives once, waits for another line, then receives until the queue is empty for 300 ms.
// Prints the id of each message.

const [directory, name] = process.argv.slice(2);
const queue = EmbeddedQueue.open({ directory, name });
const signal = new AbortController().signal;

writeSync(1, "ready\n");
await once(process.stdin, "data");
await receive();
await once(process.stdin, "data");
while ((await receive()) > 0);
queue.close();
process.exit();

async function receive(): Promise<number> {
  const deliveries = await queue.receive({ max: 3, waitMs: 300, visibilityMs: 600_000, signal });
  for (const { messageId } of deliveries) writeSync(1, `${messageId}\n`);
  return deliveries.length;
}
