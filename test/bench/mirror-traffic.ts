import { Packer } from "../../agent/intake/packer.ts";
import { createLedger } from "../../agent/ledger.ts";
import { Shipper } from "../../agent/shipper/shipper.ts";
import { createLogger } from "../../relay/log/log.ts";
import { createPackIds } from "../../relay/pack/pack-id.ts";
import { until } from "../support/clocks/until.ts";
import { Traffic } from "../support/processes/traffic.ts";
import { takeEverything } from "../support/spop/plain-intake.ts";
import { messageList } from "../support/spop/spop-frames.ts";

export interface Mirrored {
  readonly packs: number;
  readonly contentBytes: number;
  readonly sealedBytes: number;
}

const agent = "bench~0badcafe";
const seed = 4;

/** Sends requests through the agent's intake, packer and shipper into a queue, each pack as soon as it is closed. */
export async function mirrorTraffic(queueUrl: string, requests: number): Promise<Mirrored> {
  const traffic = new Traffic(seed);
  const ledger = createLedger();
  const log = createLogger("error");
  let closed = 0;
  let contentBytes = 0;
  const packer: Packer = new Packer({
    agent,
    targetBytes: 60 * 1024,
    maxRequests: 1_000,
    lingerMs: 250,
    ledger,
    createId: createPackIds(),
    hasRoom: () => true,
    ship: (pack) => {
      closed++;
      contentBytes += pack.content.length;
      shipper.ship(pack);
    },
  });
  const shipper = new Shipper({
    worker: { agent, ingress: { kind: "sqs", url: queueUrl } },
    ledger,
    log,
    onSealed: (content, sealed, buffer) => {
      packer.learnRatio(content, sealed);
      packer.recycle(buffer);
    },
  });
  const intake = takeEverything(ledger, packer);
  const sent = () => shipper.packs === closed;
  for (let i = 0; i < requests; i++) {
    const message = messageList([traffic.next()]);
    intake.take(message, 0, message.length, 16_380);
    // One pack at a time: otherwise packs would wait and share calls.
    if (!sent()) await until(sent);
  }
  packer.close();
  await until(sent);
  const { packs, sealedBytes } = shipper;
  await shipper.stop(1_000);
  if (ledger.enqueued !== requests) throw new Error(`${ledger.enqueued} of ${requests} requests were enqueued`);
  return { packs, contentBytes, sealedBytes };
}
