import { FuzzTarget } from "./fuzz-target.ts";
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

/** Feeds one connection after another. Throws `FuzzFailure` at the first failed check. */
export function runFuzz(
  mutator: Mutator,
  { frames, ms }: FuzzLimits,
  onCase: (caseNumber: number) => void,
  onLook: (figures: FuzzFigures) => void,
): FuzzFigures {
  const target = new FuzzTarget();
  const startedAtMs = performance.now();
  for (let caseNumber = 0; ; caseNumber++) {
    onCase(caseNumber);
    const chunks = mutator.chunks(caseNumber);
    try {
      target.run(caseNumber, chunks);
    } catch (error) {
      throw new FuzzFailure(caseNumber, chunks, error);
    }
    if (caseNumber % casesPerLook !== 0) continue;
    const figures = {
      cases: caseNumber + 1,
      frames: target.frames,
      acks: target.acks,
      requests: target.requests,
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
    if (figures.frames >= frames || figures.elapsedMs >= ms) return figures;
  }
}

export function toHex(chunks: readonly Buffer[]): string {
  return chunks.map((chunk) => chunk.toString("hex")).join(" ");
}
