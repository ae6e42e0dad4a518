import type { Archive } from "../../relay/archive/port.ts";
import { maxStoredContentBytes } from "../../relay/capture/capture-object.ts";
import { type CapturedShare, writeCapture } from "../../relay/capture/capture-writer.ts";
import { maxCaptureMs } from "../../relay/capture/object-name.ts";
import type { CaptureConfig } from "../../relay/config/config.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import type { Pack } from "../../relay/pack/pack.ts";
import { shareOf } from "../../relay/replay/share.ts";
import type { Fate, Settlement } from "../../relay/state/port.ts";
import type { Stores } from "../../relay/stores.ts";

export interface CaptureSinkOptions {
  readonly config: CaptureConfig;
  readonly archive: Archive;
  readonly log: Logger;
  /** How long a write may hold up the packs that come next, in milliseconds. */
  readonly giveUpMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** What a capture makes of a pack. */
export interface CaptureVerdict {
  /** Whether what the capture takes of the pack is in the archive: then every request has a fate. */
  readonly kept: boolean;
  readonly settlement: Settlement;
}

/** The place of one delivery in the batch that is written next. */
export interface CaptureTurn {
  /** Resolves when the batch has been written, or could not be. Never rejects. */
  bring(pack: Pack): Promise<CaptureVerdict>;
  /** Gives the place up; does nothing after `bring`. */
  leave(): void;
}

const defaultGiveUpMs = 5_000;
// How long the archive is left alone after a failure: twice as long each time.
const firstPauseMs = 1_000;
const maxPauseMs = 30_000;

/**
 * Puts packs into the archive of a capture: those of deliveries that are handled side by side as one object. While the
 * archive is away nothing waits for it: packs are turned down at once, and now and then one batch finds out whether it is
 * back.
 */
export class CaptureSink {
  readonly #options: CaptureSinkOptions;
  readonly #now: () => number;
  readonly #throttle = new Throttle();
  #batch: Batch | undefined;
  #failures = 0;
  #retryAtMs = 0;
  /** Writes that were given up and have not come back. */
  #hanging = 0;

  constructor(options: CaptureSinkOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get name(): string {
    return this.#options.config.name;
  }

  /** To be called before a delivery awaits anything, so that those that come with it know of each other. */
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
      // What comes from now on is for the next one.
      if (this.#batch === batch) this.#batch = undefined;
      batch.close();
    };
    return {
      bring: async (pack) => {
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
    const { archive, log } = this.#options;
    const failure = await this.#settle(writeCapture(archive, this.name, shares));
    if (failure) {
      this.#retryAtMs = this.#now() + Math.min(firstPauseMs * 2 ** this.#failures, maxPauseMs);
      this.#failures = Math.min(this.#failures + 1, 10);
      this.#throttle.run(this.#now(), (heldBack) =>
        log.error(
          { event: "capture-away", capture: this.name, reason: failure.message, heldBack },
          "the archive of a capture accepts no writes: its requests wait in the ingress queue; targets still receive theirs",
        ),
      );
      return false;
    }
    if (this.#failures > 0)
      log.info({ event: "capture-back", capture: this.name }, "the archive of a capture accepts writes again");
    this.#failures = 0;
    return true;
  }

  /** Why it failed, or took too long: an archive takes no signal, and what hangs in a file system cannot be ended at all. */
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

/** One for each capture of a configuration. */
export function createSinks(
  captures: readonly CaptureConfig[],
  archives: Stores["archives"],
  log: Logger,
): readonly CaptureSink[] {
  return captures.map((config) => new CaptureSink({ config, archive: archives.get(config.name) as Archive, log }));
}

/** What several deliveries bring. */
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
