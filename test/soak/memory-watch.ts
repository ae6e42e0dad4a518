import { readFileSync } from "node:fs";

// The mean of the last third of a run may be this many times the mean of the middle third.
const tolerance = 1.1;
// Shorter runs are not judged: every process grows in its first minutes.
const judgedFromSeconds = 120;

/** The memory of processes over time. Linux only: it is read from /proc. */
export class MemoryWatch {
  readonly #pids: ReadonlyMap<string, number>;
  readonly #samplesMb: Readonly<Record<string, number[]>>;

  constructor(pids: ReadonlyMap<string, number>) {
    this.#pids = pids;
    this.#samplesMb = Object.fromEntries(Array.from(pids.keys(), (name) => [name, []]));
  }

  /** Reads the memory of all processes; call it once a second. */
  sample(): void {
    for (const [name, pid] of this.#pids) this.#samplesMb[name].push(readRssMb(pid));
  }

  /** The latest samples. */
  get latestMb(): ReadonlyMap<string, number> {
    return new Map(Object.entries(this.#samplesMb).map(([name, samples]) => [name, samples.at(-1) ?? Number.NaN]));
  }

  /** One text for each process whose memory grows. */
  mistakes(): string[] {
    return Object.entries(this.#samplesMb).flatMap(([name, samples]) => {
      if (samples.length < judgedFromSeconds) return [];
      const third = Math.floor(samples.length / 3);
      const [middle, last] = [mean(samples.slice(third, 2 * third)), mean(samples.slice(2 * third))];
      return last > middle * tolerance
        ? [
            `the memory of ${name} grows: ${middle.toFixed(0)} MB in the middle third, ${last.toFixed(0)} MB in the last`,
          ]
        : [];
    });
  }
}

function readRssMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_024;
}

function mean(samples: readonly number[]): number {
  return samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
}
