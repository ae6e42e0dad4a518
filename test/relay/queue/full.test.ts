import { statfsSync } from "node:fs";
import { expect, it, onTestFinished } from "vitest";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { QueueFile } from "../../../relay/queue/queue-file.ts";
import { message, receive } from "../../contract/queue-contract.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const maxBytes = 16 * 1024 * 1024;
const pack = new Uint8Array(300_000);

it("a full queue refuses what would enter it, keeps within its size, and takes what is put back", async () => {
  const queue = open();
  const sent = await fill(queue);
  const full = await queue.backlog();
  const [taken] = await receive(queue, { max: 1 });
  await queue.send([message({ pack: taken.pack })]);

  expect(sent).toBeGreaterThan(20);
  expect(full).toMatchObject({ maxBytes });
  expect(full.bytes).toBeLessThanOrEqual(maxBytes);
  expect((await queue.backlog()).messages).toBe(sent + 1);
});

it("a full queue has room again once messages are deleted", async () => {
  const queue = open();
  const sent = await fill(queue);
  const deliveries = await receive(queue);
  await queue.delete(deliveries.map(({ receipt }) => receipt));
  queue.close();
  const reopened = open(directoryOf.get(queue));

  expect(await fill(reopened)).toBeGreaterThanOrEqual(deliveries.length - 2);
  expect((await reopened.backlog()).messages).toBeGreaterThanOrEqual(sent - 2);
});

it("says what to do", async () => {
  const queue = open();
  await fill(queue);

  await expect(queue.entrance.send([message({ pack })])).rejects.toMatchObject({
    code: "FULL",
    message: expect.stringMatching(
      /^queue q is full: it has 1[56] MiB, and its share of queue.maxBytes is 16 MiB;.*resume/,
    ),
  });
});

it("leaves the last 5 % of the disk, 1 GiB at most, to other programs", () => {
  const directory = temporaryDirectory();
  const file = new QueueFile({ directory, name: "q" });
  onTestFinished(() => file.close());
  const { blocks, bsize, bavail } = statfsSync(directory);
  const room = bavail * bsize - Math.min(0.05 * blocks * bsize, 1024 ** 3);
  // Others write to this disk, too.
  const margin = 64 * 1024 ** 2;

  expect(room).toBeGreaterThan(margin);
  expect(file.findExcess(room - margin)).toBeUndefined();
  expect(file.findExcess(room + margin)).toMatch(/^may not use the last \d+ MiB of the disk: requests are dropped/);
});

const directoryOf = new Map<EmbeddedQueue, string>();

function open(directory = temporaryDirectory()): EmbeddedQueue {
  const queue = EmbeddedQueue.open({ directory, name: "q", maxBytes });
  directoryOf.set(queue, directory);
  onTestFinished(() => queue.close());
  return queue;
}

/** Resolves with the number of messages that have entered until it was full. */
async function fill(queue: EmbeddedQueue): Promise<number> {
  for (let sent = 0; ; sent++) {
    try {
      await queue.entrance.send([message({ pack })]);
    } catch {
      return sent;
    }
  }
}
