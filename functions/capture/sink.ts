import type { Archive } from "../../relay/archive/port.ts";
import { maxStoredContentBytes } from "../../relay/capture/capture-object.ts";
import { type CapturedShare, writeCapture } from "../../relay/capture/capture-writer.ts";
import { maxCaptureMs } from "../../relay/capture/object-name.ts";
import type { CaptureConfig } from "../../relay/config/config.ts";
import type { Logger } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import type { Pack } from "../../relay/pack/pack.ts";
import { shareOf } from "../../relay/replay/share.ts";
import type { Fate, Settlement } from "../../relay/state/port.ts";
import type { Stores } from "../../relay/stores.ts";

export interface CaptureSinkOptions {
  readonly config: CaptureConfig;
  readonly archive: Archive;
  readonly log: Logger;
  /** How long the packs of a batch wait for their write before it counts as failed, in milliseconds. */
  readonly giveUpMs?: number;
  /** Milliseconds of a clock that nobody sets. */
  readonly now?: () => number;
}

/** The result of capturing a pack. */
export interface CaptureVerdict {
  /** Whether the capture's share of the pack is in the archive: then every request has a fate. */
  readonly kept: boolean;
  readonly settlement: Settlement;
}

/** The place of one delivery in the next batch to be written. */
export interface CaptureTurn {
  /** Adds a pack to the batch. Resolves when the batch has been written or could not be written. Never rejects. */
  write(pack: Pack): Promise<CaptureVerdict>;
  /** Gives up the place; has no effect after `write`. */
  leave(): void;
}

const defaultGiveUpMs = 5_000;
// How long the archive is left alone after a failure; doubles with each failure.
const firstPauseMs = 1_000;
const maxPauseMs = 30_000;

/**
 * Writes packs into the archive of a capture: the packs of deliveries that are handled concurrently become one object. After
 * a failed write, packs are refused at once for 1 to 30 s; then the next batch tries the archive again.
 */
export class CaptureSink {
  readonly #options: CaptureSinkOptions;
  readonly #now: () => number;
  readonly #outage: Outage;
  #batch: Batch | undefined;
  #failures = 0;
  #retryAtMs = 0;
  /** Writes that were given up and have not ended yet. */
  #hanging = 0;

  constructor(options: CaptureSinkOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#outage = new Outage(options.log, {
      down: [
        "capture-away",
        "the archive of a capture accepts no writes: its requests wait in the ingress queue; targets still receive theirs",
      ],
      up: ["capture-back", "the archive of a capture accepts writes again"],
      about: { capture: options.config.name },
    });
  }

  get name(): string {
    return this.#options.config.name;
  }

  /** Call this before a delivery awaits anything, so that the deliveries of one batch are written together. */
  announce(): CaptureTurn {
    const batch = this.#batch ?? new Batch((shares) => this.#write(shares));
    this.#batch = batch;
    batch.expected++;
    let open = true;
    const end = (share?: CapturedShare) => {
      if (!open) return;
      open = false;
      batch.expected--;
      if (share) batch.shares.push(share);
      if (batch.expected > 0) return;
      // Later deliveries belong to the next batch.
      if (this.#batch === batch) this.#batch = undefined;
      batch.close();
    };
    return {
      write: async (pack) => {
        const { requests, settlement } = shareOf(this.#options.config, this.#options.config.sample.fraction, pack);
        const fates = new Map<number, Fate>(settlement);
        const storable = requests.filter((request) => {
          const fits = isStorable(pack, request);
          if (!fits) fates.set(request.index, "skipped");
          return fits;
        });
        if (storable.length === 0) {
          end();
          return { kept: true, settlement: fates };
        }
        end({ pack, requests: storable });
        const kept = await batch.written;
        if (kept) for (const { index } of storable) fates.set(index, "captured");
        return { kept, settlement: fates };
      },
      leave: () => end(),
    };
  }

  async #write(shares: readonly CapturedShare[]): Promise<boolean> {
    if (this.#hanging > 0 || this.#now() < this.#retryAtMs) return false;
    const failure = await this.#settle(writeCapture(this.#options.archive, this.name, shares));
    if (failure) {
      this.#retryAtMs = this.#now() + Math.min(firstPauseMs * 2 ** this.#failures, maxPauseMs);
      this.#failures = Math.min(this.#failures + 1, 10);
      this.#outage.fail(failure.message, { nowMs: this.#now() });
      return false;
    }
    this.#outage.recover({ nowMs: this.#now() });
    this.#failures = 0;
    return true;
  }

  /**
   * Resolves with the error of a write that failed or took too long. Archives accept no signal: a write that hangs in a file
   * system cannot be aborted at all.
   */
  #settle(work: Promise<unknown>): Promise<Error | undefined> {
    const { giveUpMs = defaultGiveUpMs } = this.#options;
    return new Promise((resolve) => {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        this.#hanging++;
        resolve(new Error(`no answer within ${giveUpMs} ms`));
      }, giveUpMs);
      const end = (error?: Error) => {
        clearTimeout(timer);
        if (late) this.#hanging--;
        resolve(error);
      };
      work.then(() => end(), end);
    });
  }
}

/** Creates a sink for each capture of the configuration. */
export function createSinks(
  captures: readonly CaptureConfig[],
  archives: Stores["archives"],
  log: Logger,
): readonly CaptureSink[] {
  return captures.map((config) => new CaptureSink({ config, archive: archives.get(config.name) as Archive, log }));
}

/** The packs of several deliveries, which are written as one object. */
class Batch {
  expected = 0;
  readonly shares: CapturedShare[] = [];
  readonly written: Promise<boolean>;
  readonly close: () => void;

  constructor(write: (shares: readonly CapturedShare[]) => Promise<boolean>) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.close = resolve;
    this.written = promise.then(() => (this.shares.length === 0 ? true : write(this.shares)));
  }
}

/** Whether an object can hold a request: no name has a year beyond 9999, and no object more than 64 MiB. */
function isStorable({ head, origin }: Pack, { capturedAtMs, record }: Pack["requests"][number]): boolean {
  return capturedAtMs <= maxCaptureMs && head.length + origin.length + record.length + 16 <= maxStoredContentBytes;
}
