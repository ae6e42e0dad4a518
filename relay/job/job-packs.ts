import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import type { Archive } from "../archive/port.ts";
import type { CapturePosition } from "../capture/capture-position.ts";
import { type CaptureEntry, CaptureReader, type SkippedPart } from "../capture/capture-reader.ts";
import { parseObjectName } from "../capture/object-name.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import type { PackedRequest } from "../pack/pack.ts";
import { repack } from "../pack/repack.ts";
import { createMark } from "../queue/job-mark.ts";
import type { MessagePack } from "../queue/message.ts";
import { type Checkpoint, type Job, jobKey } from "./job.ts";
import { factorOf } from "./job-clock.ts";

/** The next step of a job: a pack, or progress without a pack if all requests were left out. */
export type JobStep =
  | {
      readonly kind: "pack";
      readonly pack: MessagePack;
      /** Offset of its first request in the time of the job. */
      readonly offsetMs: number;
      /** The checkpoint after this pack. */
      readonly after: Checkpoint;
    }
  | { readonly kind: "progress"; readonly after: Checkpoint };

export interface JobSource {
  readonly archive: Archive;
  /** Whether a request belongs to the job. */
  readonly takes: (request: CapturedRequest) => boolean;
  /** Called for each part of the capture that cannot be read. */
  readonly onSkip?: (part: SkippedPart) => void;
}

// A pack spans at most a second in real time, because a worker holds its message that long.
const maxSpanMs = 1_000;
const maxRequests = 300;
const maxUntimedRequests = 1_000;
// Compressed to a third, this fits into the 64 KiB that SQS bills once.
const maxBytes = 192 * 1024;
const filteredPerStep = 1_000;
// Reading this many takes a few milliseconds; then the event loop runs, so requests that are due are not late.
const entriesPerTurn = 100;
const maxHeldBytes = 16 * 1024 * 1024;

/**
 * Reads the packs of a job from its checkpoint to its end. As long as the capture does not change, a job gives the same
 * packs every time, from any of its checkpoints. Needs memory for one pack, one object and 16 MiB held by the reader of
 * the capture. Throws `ArchiveError`.
 */
export async function* readJobPacks(job: Job, source: JobSource): AsyncGenerator<JobStep> {
  const { checkpoint, loops } = job;
  let at = checkpoint;
  while (at.loop < loops && !at.complete) {
    const loop = new Loop(job, source, at);
    yield* loop.steps();
    at = loop.end();
    yield { kind: "progress", after: at };
  }
  if (!at.complete) yield { kind: "progress", after: { ...at, complete: true } };
}

/** One loop over the capture, from a checkpoint to its end. */
class Loop {
  readonly #job: Job;
  readonly #takes: JobSource["takes"];
  readonly #reader: CaptureReader;
  readonly #start: Checkpoint;
  #at: Checkpoint;
  #draft: Draft | undefined;
  #filteredInStep = 0;
  #skippedBefore = { parts: 0, requests: 0 };

  constructor(job: Job, { archive, takes, onSkip = () => {} }: JobSource, start: Checkpoint) {
    this.#job = job;
    this.#takes = takes;
    this.#start = start;
    this.#at = start;
    const { capture, fromMs, toMs } = job;
    this.#reader = new CaptureReader(archive, capture, {
      fromMs,
      toMs,
      after: start.position,
      maxHeldBytes,
      onSkip: (part) => {
        onSkip(part);
        if (this.#isCounted(part)) {
          this.#skippedBefore.parts++;
          this.#skippedBefore.requests += part.requests;
        }
      },
    });
  }

  async *steps(): AsyncGenerator<JobStep> {
    let read = 0;
    for await (const entry of this.#reader) {
      // The reader itself yields only when it reads an object, and one object may hold a hundred thousand requests.
      if (++read % entriesPerTurn === 0) await turn();
      const step = this.#take(entry);
      if (step) yield step;
    }
    if (this.#draft) yield this.#close(this.#draft);
  }

  /** The checkpoint at the start of the next loop, or at the end of the job. Call it after `steps` has ended. */
  end(): Checkpoint {
    const { fromMs, loops } = this.#job;
    const { position: _, mark, ...rest } = this.#counted();
    const loop = rest.loop + 1;
    // A loop without any request would repeat without any request.
    const empty = this.#start.position === undefined && rest.requests === this.#start.requests;
    // The mark of a complete job remains at its last request: no loop begins after the silence at the end of the range.
    if (loop >= loops || empty) return { ...rest, loop, mark, complete: true };
    return { ...rest, loop, mark: { capturedAtMs: fromMs, offsetMs: loopEndMs(this.#job, mark) }, complete: false };
  }

  #take({ position, request }: CaptureEntry): JobStep | undefined {
    const taken = this.#takes(request);
    const { offsetMs, cut } = this.#locate(position.capturedAtMs);
    const draft = this.#draft;
    const closed = draft && this.#isOver(draft, offsetMs, taken ? { request, cut } : undefined);
    const step = closed ? this.#close(draft) : undefined;
    const { mark, requests, filtered } = this.#at;
    this.#at = {
      ...this.#counted(),
      position,
      mark: taken ? { capturedAtMs: position.capturedAtMs, offsetMs } : mark,
      requests: requests + (taken ? 1 : 0),
      filtered: filtered + (taken ? 0 : 1),
    };
    if (taken) {
      this.#draft ??= { offsetMs, bytes: 0, first: position, last: position, requests: [] };
      this.#draft.last = position;
      this.#draft.bytes += request.record.length;
      this.#draft.requests.push(request);
    }
    if (step) return step;
    return taken ? undefined : this.#reportProgress();
  }

  /** The offset of a captured time in the time of the job, and whether a silence before it was shortened. */
  #locate(capturedAtMs: number): { readonly offsetMs: number; readonly cut: boolean } {
    const { pace, maxGapMs = Number.POSITIVE_INFINITY } = this.#job;
    const { mark, requests } = this.#at;
    // Computed from the number of requests: adding up distances would add up rounding errors.
    if (pace.kind === "rate") return { offsetMs: (requests * 1_000) / pace.perSecond, cut: false };
    const gapMs = capturedAtMs - mark.capturedAtMs;
    return { offsetMs: mark.offsetMs + Math.min(gapMs, maxGapMs), cut: gapMs > maxGapMs };
  }

  #isOver(
    draft: Draft,
    offsetMs: number,
    next: { readonly request: PackedRequest; readonly cut: boolean } | undefined,
  ): boolean {
    const { pace } = this.#job;
    const timed = pace.kind !== "asap";
    if (timed && offsetMs - draft.offsetMs > maxSpanMs * factorOf(pace)) return true;
    if (!next) return false;
    if (draft.requests.length >= (timed ? maxRequests : maxUntimedRequests)) return true;
    // All requests of a pack have the same difference between captured time and offset, so a cut gap begins a new pack.
    return (timed && next.cut) || draft.bytes + next.request.record.length > maxBytes;
  }

  #close({ offsetMs, first, last, requests }: Draft): JobStep {
    this.#draft = undefined;
    this.#filteredInStep = 0;
    const { id, pace } = this.#job;
    const packs = this.#at.packs + 1;
    this.#at = { ...this.#at, packs };
    // The id depends on the requests: a pack that is sent again, for example after a crash, has the same id.
    const name = JSON.stringify([id, this.#at.loop, textOf(first), textOf(last), requests.length]);
    const identity = {
      id: createHash("sha256").update(name).digest().subarray(0, 16),
      agent: jobKey(id),
      sequence: packs,
    };
    const job = createMark(id, pace, first.capturedAtMs, offsetMs);
    return { kind: "pack", pack: { ...repack(identity, requests), job }, offsetMs, after: this.#at };
  }

  #reportProgress(): JobStep | undefined {
    if (this.#draft || ++this.#filteredInStep < filteredPerStep) return undefined;
    this.#filteredInStep = 0;
    return { kind: "progress", after: this.#at };
  }

  /** The current checkpoint, including the parts skipped so far. */
  #counted(): Checkpoint {
    const { parts, requests } = this.#reader.skipped;
    return {
      ...this.#at,
      skippedParts: this.#start.skippedParts + parts - this.#skippedBefore.parts,
      skippedRequests: this.#start.skippedRequests + requests - this.#skippedBefore.requests,
    };
  }

  /**
   * Whether a skipped object was counted before the checkpoint: a reader that starts in the middle of it skips it
   * again.
   */
  #isCounted({ name, requests }: SkippedPart): boolean {
    const { position } = this.#start;
    const object = parseObjectName(this.#job.capture, { name, bytes: 0 });
    return position !== undefined && object?.requests === requests && object.firstMs <= position.capturedAtMs;
  }
}

/** The pack that is being filled. */
interface Draft {
  readonly offsetMs: number;
  readonly first: CapturePosition;
  readonly requests: PackedRequest[];
  last: CapturePosition;
  bytes: number;
}

/** The offset at which a loop ends whose last request has this mark. */
export function loopEndMs({ toMs, maxGapMs = Number.POSITIVE_INFINITY }: Job, mark: Checkpoint["mark"]): number {
  return mark.offsetMs + Math.min(toMs - mark.capturedAtMs, maxGapMs);
}

function textOf({ capturedAtMs, sequence, packId, index }: CapturePosition): string {
  return `${capturedAtMs}-${sequence}-${packId}-${index}`;
}
