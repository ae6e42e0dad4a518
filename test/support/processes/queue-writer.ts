import { createHash, randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";

// Sends batches of three messages until it is killed or the queue fails. Prints `sent <number>` for each acknowledged message,
// and `failed <code>` at the end. The body has the number and the pack's hash, so that the test detects a torn pack.

const [directory, name] = process.argv.slice(2);
const queue = EmbeddedQueue.open({ directory, name });

for (let number = 0; ; number += 3) {
  const batch = [number, number + 1, number + 2].map((n) => {
    const pack = randomBytes(1 + ((n * 7_919) % 100_000));
    return { body: `${n} ${createHash("sha256").update(pack).digest("hex")}`, pack, requests: 1 };
  });
  try {
    await queue.send(batch);
  } catch (error) {
    writeSync(1, `failed ${(error as { code?: string }).code}\n`);
    break;
  }
  writeSync(1, `sent ${number}\nsent ${number + 1}\nsent ${number + 2}\n`);
}
