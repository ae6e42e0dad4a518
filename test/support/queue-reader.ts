import { writeSync } from "node:fs";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";

// Prints `ready`, waits for a line, receives until the queue has had nothing for a while and prints the id of each message.

const [directory, name] = process.argv.slice(2);
const queue = EmbeddedQueue.open({ directory, name });
const signal = new AbortController().signal;

writeSync(1, "ready\n");
process.stdin.once("data", async () => {
  for (;;) {
    const deliveries = await queue.receive({ max: 3, waitMs: 300, visibilityMs: 600_000, signal });
    if (deliveries.length === 0) break;
    for (const { messageId } of deliveries) writeSync(1, `${messageId}\n`);
  }
  queue.close();
  process.exit();
});
