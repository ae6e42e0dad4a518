import { expect, it, onTestFinished, vi } from "vitest";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { LeftMessages } from "../../../relay/queue/left-messages.ts";
import { packMessage } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

it("returns dead letters first, and waits at the empty dead-letter queue only once", async () => {
  const queue = EmbeddedQueue.open({ directory: temporaryDirectory(), name: "target-old" });
  onTestFinished(() => queue.close());
  const messages = Array.from({ length: 10 }, (_, sequence) => packMessage({ sequence }));
  await queue.send(messages);
  await queue.send(messages);
  await queue.deadLetters.send(messages);
  const receiveDead = vi.spyOn(queue.deadLetters, "receive");
  const left = new LeftMessages(queue);
  const { signal } = new AbortController();
  const receipts: string[][] = [];
  for (let i = 0; i < 4; i++) {
    const batch = await left.receive({ max: 10, waitMs: 0, visibilityMs: 1_000, signal });
    receipts.push(batch.map(({ receipt }) => receipt[0]));
  }

  expect(receipts.map((lanes) => lanes.join(""))).toEqual(["0000000000", "1111111111", "1111111111", ""]);
  expect(receiveDead).toHaveBeenCalledTimes(2);
});
