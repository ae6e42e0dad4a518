import { createHash } from "node:crypto";

/** A change of a piece of code, as Stryker describes it. Lines and columns count from 0. */
export interface Mutant {
  /** From the root of the repository. */
  readonly fileName: string;
  readonly location: { readonly start: Position; readonly end: Position };
  readonly mutatorName: string;
  readonly replacement: string;
}

interface Position {
  readonly line: number;
  readonly column: number;
}

/** Which mutants to test: a share of all, or exactly those with these digests. */
export type Sample = { readonly share: number; readonly seed: number } | { readonly digests: readonly string[] };

/** Each seed draws another sample, always the same as long as the files are the same. A larger share contains a smaller one. */
export function isSampled(mutant: Mutant, sample: Sample): boolean {
  if ("digests" in sample) return sample.digests.includes(mutantDigest(mutant));
  return hash(mutant, sample.seed).readUInt32BE() / 2 ** 32 < sample.share;
}

/** Names a mutant, in any run. */
export function mutantDigest(mutant: Mutant): string {
  return hash(mutant, 0).toString("hex", 0, 12);
}

function hash({ fileName, location, mutatorName, replacement }: Mutant, seed: number): Buffer {
  const { start, end } = location;
  const parts = [seed, fileName, start.line, start.column, end.line, end.column, mutatorName, replacement];
  return createHash("sha256").update(JSON.stringify(parts)).digest();
}
