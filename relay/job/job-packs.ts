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

/** What comes next in a job: a pack, or that it has read on and found nothing for it. */
export type JobStep =
  | {
      readonly kind: "pack";
      readonly pack: MessagePack;
      /** Of its first request, in the time of the job. */
      readonly offsetMs: number;
      /** Where the job goes on when it has been sent. */
      readonly after: Checkpoint;
    }
  | { readonly kind: "progress"; readonly after: Checkpoint };

export interface JobSource {
  readonly archive: Archive;
  /** Whether a request is taken at all. */
  readonly takes: (request: CapturedRequest) => boolean;
  /** Told of each part of the capture that cannot be read. */
  readonly onSkip?: (part: SkippedPart) => void;
}

// One pack spans about a second: how long a message has to stay with whoever sends it.
const maxSpanMs = 1_000;
const maxRequests = 300;
const maxUntimedRequests = 1_000;
// Compressed to a third, they fit into the 64 KiB that SQS bills once.
const maxBytes = 192 * 1024;
const filteredPerStep = 1_000;
// A few milliseconds: what is due meanwhile must not be late.
const entriesPerTurn = 100;
const maxHeldBytes = 16 * 1024 * 1024;

/**
 * Reads the packs of a job from its checkpoint to its end. The same job gives the same packs whenever, and from whichever
 * checkpoint, it is read, as long as its capture does not change. In memory there are one pack and what the reader of the
 * capture holds, 16 MiB and an object. Throws `ArchiveError`.
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

/** One loop over the capture, or the rest of one. */
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
      // The reader itself waits only where it reads the next object, of which one may hold a hundred thousand requests.
      if (++read % entriesPerTurn === 0) await turn();
      const step = this.#take(entry);
      if (step) yield step;
    }
    if (this.#draft) yield this.#close(this.#draft);
  }

  /** The beginning of the next loop, when all of this one has been read. */
  end(): Checkpoint {
    const { fromMs, toMs, maxGapMs = Number.POSITIVE_INFINITY, loops } = this.#job;
    const { position: _, mark, ...rest } = this.#counted();
    const offsetMs = mark.offsetMs + Math.min(toMs - mark.capturedAtMs, maxGapMs);
    const loop = rest.loop + 1;
    // Where nothing was found it will not be found the next time either.
    const empty = this.#start.position === undefined && rest.requests === this.#start.requests;
    return { ...rest, loop, mark: { capturedAtMs: fromMs, offsetMs }, complete: loop >= loops || empty };
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
    return taken ? undefined : this.#tellProgress();
  }

  /** Where a captured time stands in the time of the job, and whether a silence before it was cut. */
  #locate(capturedAtMs: number): { readonly offsetMs: number; readonly cut: boolean } {
    const { pace, maxGapMs = Number.POSITIVE_INFINITY } = this.#job;
    const { mark, requests } = this.#at;
    // By number, and not one distance after the other: these would add up their errors.
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
    // Within a pack the time of the job passes as that of the capture does.
    return (timed && next.cut) || draft.bytes + next.request.record.length > maxBytes;
  }

  #close({ offsetMs, first, last, requests }: Draft): JobStep {
    this.#draft = undefined;
    this.#filteredInStep = 0;
    const { id, pace } = this.#job;
    const packs = this.#at.packs + 1;
    this.#at = { ...this.#at, packs };
    // What is sent twice, after a crash for one, is the same pack; what has other requests is another.
    const name = JSON.stringify([id, this.#at.loop, textOf(first), textOf(last), requests.length]);
    const identity = {
      id: createHash("sha256").update(name).digest().subarray(0, 16),
      agent: jobKey(id),
      sequence: packs,
    };
    const job = createMark(id, pace, first.capturedAtMs, offsetMs);
    return { kind: "pack", pack: { ...repack(identity, requests), job }, offsetMs, after: this.#at };
  }

  #tellProgress(): JobStep | undefined {
    if (this.#draft || ++this.#filteredInStep < filteredPerStep) return undefined;
    this.#filteredInStep = 0;
    return { kind: "progress", after: this.#at };
  }

  /** The checkpoint with what has been skipped up to now. */
  #counted(): Checkpoint {
    const { parts, requests } = this.#reader.skipped;
    return {
      ...this.#at,
      skippedParts: this.#start.skippedParts + parts - this.#skippedBefore.parts,
      skippedRequests: this.#start.skippedRequests + requests - this.#skippedBefore.requests,
    };
  }

  /** Whether an object was passed over before the checkpoint: it is met again where it reaches beyond it. */
  #isCounted({ name, requests }: SkippedPart): boolean {
    const { position } = this.#start;
    const object = parseObjectName(this.#job.capture, { name, bytes: 0 });
    return position !== undefined && object?.requests === requests && object.firstMs <= position.capturedAtMs;
  }
}

/** A pack that is being filled. */
interface Draft {
  readonly offsetMs: number;
  readonly first: CapturePosition;
  readonly requests: PackedRequest[];
  last: CapturePosition;
  bytes: number;
}

function textOf({ capturedAtMs, sequence, packId, index }: CapturePosition): string {
  return `${capturedAtMs}-${sequence}-${packId}-${index}`;
}
