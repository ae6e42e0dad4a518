import { setImmediate as turn } from "node:timers/promises";
import { FuzzTarget } from "./fuzz-target.ts";
import { ContentMismatch, type Origin } from "./model/content-check.ts";
import type { Mutator } from "./mutator.ts";

export interface FuzzLimits {
  /** The run ends after at least this many frames. */
  readonly frames: number;
  readonly ms: number;
}

export interface FuzzFigures {
  readonly cases: number;
  readonly frames: number;
  readonly acks: number;
  readonly requests: number;
  /** Of the requests that were compared, the share of which every byte was. */
  readonly exactShare: number;
  readonly refused: number;
  readonly elapsedMs: number;
  readonly residentMiB: number;
}

/** A check has failed. `input` has the chunks of the connection, in hex. */
export class FuzzFailure extends Error {
  readonly caseNumber: number;
  readonly input: string;

  constructor(caseNumber: number, chunks: readonly Buffer[], cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = "FuzzFailure";
    this.caseNumber = caseNumber;
    this.input = toHex(chunks);
  }
}

// Packs, recordings and Node itself need a part of it.
const maxResidentMiB = 400;
const casesPerLook = 256;

/** Feeds one connection after another. Rejects with `FuzzFailure` at the first failed check. */
export async function runFuzz(
  mutator: Mutator,
  { frames, ms }: FuzzLimits,
  onCase: (caseNumber: number) => void,
  onLook: (figures: FuzzFigures) => void,
): Promise<FuzzFigures> {
  const target = new FuzzTarget();
  const startedAtMs = performance.now();
  for (let caseNumber = 0; ; caseNumber++) {
    onCase(caseNumber);
    const chunks = mutator.chunks(caseNumber);
    failing({ caseNumber, chunks }, () => target.run(caseNumber, chunks));
    if (caseNumber % casesPerLook !== 0) continue;
    // What zlib could not read it frees later, and not while this loop runs.
    await turn();
    const figures = {
      cases: caseNumber + 1,
      frames: target.frames,
      acks: target.acks,
      requests: target.requests,
      exactShare: target.exactShare,
      refused: target.refused,
      elapsedMs: performance.now() - startedAtMs,
      residentMiB: process.memoryUsage.rss() / 1024 / 1024,
    };
    if (figures.residentMiB > maxResidentMiB) {
      throw new FuzzFailure(
        caseNumber,
        chunks,
        `the process uses ${Math.round(figures.residentMiB)} MiB of memory, more than ${maxResidentMiB}`,
      );
    }
    onLook(figures);
    if (figures.frames < frames && figures.elapsedMs < ms) continue;
    failing({ caseNumber, chunks }, () => target.finish());
    return figures;
  }
}

/** Throws `FuzzFailure` if a check fails. A pack may have a request of an earlier connection than the last. */
function failing(last: Origin, run: () => void): void {
  try {
    run();
  } catch (error) {
    const { caseNumber, chunks } = error instanceof ContentMismatch ? error.origin : last;
    throw new FuzzFailure(caseNumber, chunks, error);
  }
}

export function toHex(chunks: readonly Buffer[]): string {
  return chunks.map((chunk) => chunk.toString("hex")).join(" ");
}
