import { randomBytes } from "node:crypto";
import { Packer } from "../../agent/intake/packer.ts";
import { createLedger } from "../../agent/ledger.ts";
import { sealPack } from "../../relay/pack/envelope.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import type { Traffic } from "../support/processes/traffic.ts";
import { takeEverything } from "../support/spop/plain-intake.ts";
import { messageList } from "../support/spop/spop-frames.ts";

/** The packs that an agent creates from this many requests. */
export function createPacks(traffic: Traffic, requests: number): OutgoingMessage[] {
  const messages: OutgoingMessage[] = [];
  const ledger = createLedger();
  const packer: Packer = new Packer({
    agent: "bench~0badcafe",
    targetBytes: 60 * 1024,
    maxRequests: 1_000,
    lingerMs: 250,
    ledger,
    createId: () => randomBytes(16),
    hasRoom: () => true,
    ship: ({ content, summary }) => {
      const pack = sealPack(content);
      packer.learnRatio(content.length, pack.length);
      packer.recycle(content.buffer);
      messages.push({ body: JSON.stringify(summary), pack, requests: summary.count });
    },
  });
  const intake = takeEverything(ledger, packer);
  for (let i = 0; i < requests; i++) {
    const message = messageList([traffic.next()]);
    intake.take(message, 0, message.length, 16_380);
  }
  packer.close();
  return messages;
}
