import type { Ground } from "./ground.ts";

/** A program that tries to break one promise of SECURITY.md, from outside: through sockets, files and the command line. */
export interface Attack {
  readonly name: string;
  /** The promise that it tries to break. */
  readonly promise: string;
  /** Takes less than two minutes, and gives up by itself if nothing answers any more. */
  run(ground: Ground): Promise<Finding>;
}

export interface Finding {
  /** Whether the promise was kept. */
  readonly held: boolean;
  /** The largest resident memory of an attacked process. */
  readonly peakMiB?: number;
  /** The longest time that somebody else had to wait. */
  readonly longestMs?: number;
  /** Requests or packs that should have arrived and did not. */
  readonly lost?: number;
  /** What was seen, in a few words: "429 of 429 secrets shown". */
  readonly seen: string;
}
