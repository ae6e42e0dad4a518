import type { Writable } from "node:stream";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { decodePack } from "../../relay/pack/pack.ts";
import { formatRequest } from "../../relay/pack/request-text.ts";
import type { AgentLedger } from "../ledger.ts";
import type { Shipper } from "../shipper/shipper.ts";
import type { ClosedPack } from "./packer.ts";

/** Receives closed packs and sends them to the queue, or prints them with `--dump`. */
export type PackSink = Pick<Shipper, keyof Shipper>;

/** Prints the requests of packs without credentials; needs no queue. The ledger counts printed requests as enqueued. */
export class Dump implements PackSink {
  readonly #out: Writable;
  readonly #ledger: AgentLedger;
  readonly #recycle: (buffer: ArrayBuffer) => void;
  readonly journal = { bytes: 0, packs: 0 };
  readonly problems = { queue: undefined, journal: undefined };
  readonly queueErrors = new Map();
  packs = 0;
  sealedBytes = 0;

  constructor(out: Writable, ledger: AgentLedger, recycle: (buffer: ArrayBuffer) => void) {
    this.#out = out;
    this.#ledger = ledger;
    this.#recycle = recycle;
  }

  get waitingBytes(): number {
    return this.#out.writableLength;
  }

  ship({ content, summary }: ClosedPack): void {
    const pack = decodePack(content);
    if (pack instanceof DecodeError) throw pack;
    for (const request of pack.requests) this.#out.write(`${formatRequest(request)}\n\n`);
    this.packs++;
    this.sealedBytes += content.length;
    this.#ledger.pending -= summary.count;
    this.#ledger.enqueued += summary.count;
    this.#recycle(content.buffer);
  }

  /** Resolves when everything is printed, at the latest after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#out.write("", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
