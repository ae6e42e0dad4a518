import type { CreatePackId } from "../../relay/pack/pack-id.ts";
import type { PackSummary } from "../../relay/pack/summary.ts";
import { draftBytes, PackWriter, type RequestDraft } from "../../relay/pack/writer.ts";
import { machineClock } from "../../relay/process/machine-clock.ts";
import { type AgentLedger, addTo } from "../ledger.ts";
import type { CaptureSpan } from "../shipper/held-time.ts";

/** A complete pack. `content` is a view into a buffer that nothing else uses. */
export interface ClosedPack {
  readonly content: Buffer<ArrayBuffer>;
  readonly summary: PackSummary;
  readonly span: CaptureSpan;
}

export interface PackerOptions {
  /** The agent's name and run, see `PackIdentity`. */
  readonly agent: string;
  /** Compressed size to aim for. */
  readonly targetBytes: number;
  readonly maxRequests: number;
  readonly lingerMs: number;
  readonly ledger: AgentLedger;
  /** 16 bytes, never the same twice. */
  readonly createId: CreatePackId;
  /** False while the bytes that wait for the queue have reached their limit. */
  readonly hasRoom: () => boolean;
  readonly ship: (pack: ClosedPack) => void;
  /** Milliseconds of a clock that nobody sets, the same in all threads; by default the uptime of the machine. */
  readonly uptimeMs?: () => number;
}

/** Size of the buffers that packs are written into. Only a single request that does not fit uses a larger buffer. */
export const packBufferBytes = 256 * 1024;

// Typical compression ratio of HTTP requests, used until packs of this traffic have been measured.
const initialRatio = 3;
// Enough for the buffers on their way to the shipper thread and back; more would only hold memory.
const maxSpareBuffers = 32;

/** Collects requests into packs. A pack closes by size, by count, or when its first request has waited long enough. */
export class Packer {
  readonly #options: PackerOptions;
  readonly #spareBuffers: ArrayBuffer[] = [];
  readonly #uptimeMs: () => number;
  #open: PackWriter | undefined;
  #openedAtMs = 0;
  #sequence = 0;
  /** Requests in the pack that was closed last. */
  #lastCount = 0;
  #ratio = initialRatio;

  constructor(options: PackerOptions) {
    this.#options = options;
    this.#uptimeMs = options.uptimeMs ?? machineClock.uptimeMs;
  }

  /** Copies the request into the open pack. Drops and counts it while `hasRoom` returns false. */
  append(draft: RequestDraft): void {
    const { ledger, hasRoom, maxRequests } = this.#options;
    if (!hasRoom()) {
      addTo(ledger.dropped, "buffer full");
      return;
    }
    if (!this.#open?.append(draft)) {
      this.close();
      this.#open = this.#createWriter(draft);
      this.#openedAtMs = this.#uptimeMs();
      this.#open.append(draft);
    }
    ledger.pending++;
    if (this.#open.count >= maxRequests) this.close();
  }

  /** Closes the open pack if its first request has waited for the linger time. */
  closeIfDue(): void {
    if (this.#open && this.#uptimeMs() - this.#openedAtMs >= this.#options.lingerMs) this.close();
  }

  /** Closes the open pack, if there is one, and ships it. */
  close(): void {
    const writer = this.#open;
    if (!writer) return;
    this.#open = undefined;
    this.#lastCount = writer.count;
    const content = this.#fitting(writer.finish());
    const { agent, ship } = this.#options;
    const summary: PackSummary = {
      v: 1,
      pack: content.toString("hex", 2, 18),
      agent,
      seq: this.#sequence,
      count: writer.count,
      bytes: content.length,
      first: new Date(writer.firstCapturedAtMs).toISOString(),
      last: new Date(writer.lastCapturedAtMs).toISOString(),
    };
    ship({ content, summary, span: { fromMs: this.#openedAtMs, toMs: this.#uptimeMs() } });
  }

  /** Learns how well packs compress, so that the next ones are close to `targetBytes`. */
  learnRatio(contentBytes: number, sealedBytes: number): void {
    // Small packs compress worse and would distort the ratio.
    if (contentBytes < 16_384) return;
    this.#ratio += (contentBytes / sealedBytes - this.#ratio) / 8;
  }

  /** Keeps the buffer of a shipped pack for reuse. */
  recycle(buffer: ArrayBuffer): void {
    if (buffer.byteLength === packBufferBytes && this.#spareBuffers.length < maxSpareBuffers) {
      this.#spareBuffers.push(buffer);
    }
  }

  /** Copies a small pack into a buffer of its own size: many waiting packs would fill the memory with empty space. */
  #fitting(content: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
    if (content.length > packBufferBytes / 4) return content;
    const copy = Buffer.from(new ArrayBuffer(content.length));
    content.copy(copy);
    this.recycle(content.buffer);
    return copy;
  }

  #createWriter(draft: RequestDraft): PackWriter {
    const { agent, targetBytes, createId } = this.#options;
    const needed = PackWriter.headerBytes(agent) + draftBytes(draft);
    const aimed = Math.min(packBufferBytes, Math.floor(targetBytes * this.#ratio));
    const buffer =
      needed > packBufferBytes
        ? new ArrayBuffer(needed)
        : (this.#spareBuffers.pop() ?? new ArrayBuffer(packBufferBytes));
    this.#sequence++;
    const identity = { id: createId(this.#lastCount), agent, sequence: this.#sequence };
    return new PackWriter(Buffer.from(buffer, 0, Math.max(needed, aimed)), identity);
  }
}
