import { assertTrue, type FileKind, type Verdict } from "./file-kind.ts";
import type { FileMutator } from "./file-mutator.ts";

export interface FileLimits {
  /** The run ends after this many files. */
  readonly files: number;
  readonly ms: number;
}

/** What the readers of a kind made of its files. */
interface KindFigures extends Verdict {
  readonly files: number;
  /** CPU time, in ms, of the file that took the longest. */
  readonly slowestMs: number;
}

export interface FileFigures {
  readonly files: number;
  readonly bytes: number;
  readonly elapsedMs: number;
  readonly residentMiB: number;
  readonly kinds: Readonly<Record<string, KindFigures>>;
}

/** A check has failed. */
export class FileFailure extends Error {
  readonly caseNumber: number;
  readonly kind: string;
  readonly bytes: Buffer;

  constructor(caseNumber: number, kind: string, bytes: Buffer, cause: unknown) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause), { cause });
    this.name = "FileFailure";
    this.caseNumber = caseNumber;
    this.kind = kind;
    this.bytes = bytes;
  }
}

// The compiler and the collector take some of it. Quadratic time for 64 KiB would be seconds.
const allowedMs = 150;
const allowedMsPerKiB = 4;
// Other work of the process may delay any look, but hardly all of them.
const looks = 4;
// A pack may have 64 MiB, twice while it is opened.
const maxResidentMiB = 1_200;
const filesPerLook = 128;

/** Reads each undamaged file. Throws `FileFailure` if one is not read as it should be. */
export async function checkSeeds(kinds: readonly FileKind[]): Promise<void> {
  for (const { name, seeds, read } of kinds) {
    for (const { bytes, accepted, refused } of seeds) {
      try {
        const found = await read(bytes);
        const counts = `${found.accepted} accepted and ${found.refused} refused`;
        const right = found.accepted === accepted && found.refused === refused;
        assertTrue(right, `undamaged: ${counts} instead of ${accepted} and ${refused}`);
      } catch (error) {
        throw new FileFailure(-1, name, bytes, error);
      }
    }
  }
}

/** Reads one file after another. Throws `FileFailure` at the first failed check. */
export async function runFiles(
  mutator: FileMutator,
  { files, ms }: FileLimits,
  onCase: (caseNumber: number) => void = () => {},
  onLook: (figures: FileFigures) => void = () => {},
): Promise<FileFigures> {
  const kinds: Record<string, KindFigures> = {};
  const startedAtMs = performance.now();
  let bytesRead = 0;
  for (let caseNumber = 0; ; caseNumber++) {
    onCase(caseNumber);
    const { kind, bytes } = mutator.file(caseNumber);
    const before = kinds[kind.name] ?? { files: 0, accepted: 0, refused: 0, slowestMs: 0 };
    try {
      const { accepted, refused, cpuMs } = await readTimed(kind, bytes);
      kinds[kind.name] = {
        files: before.files + 1,
        accepted: before.accepted + accepted,
        refused: before.refused + refused,
        slowestMs: Math.max(before.slowestMs, cpuMs),
      };
    } catch (error) {
      throw new FileFailure(caseNumber, kind.name, bytes, error);
    }
    bytesRead += bytes.length;
    const isLast = caseNumber + 1 >= files;
    if (!isLast && caseNumber % filesPerLook !== 0) continue;
    const residentMiB = process.memoryUsage.rss() / 1024 / 1024;
    const elapsedMs = performance.now() - startedAtMs;
    const figures = { files: caseNumber + 1, bytes: bytesRead, elapsedMs, residentMiB, kinds };
    if (residentMiB > maxResidentMiB) {
      const reason = `the process uses ${Math.round(residentMiB)} MiB of memory, more than ${maxResidentMiB}`;
      throw new FileFailure(caseNumber, kind.name, bytes, reason);
    }
    onLook(figures);
    if (isLast || elapsedMs >= ms) return figures;
  }
}

/** Reads a file, again if it took long. Throws if it takes longer than its length allows, each time. */
async function readTimed(kind: FileKind, bytes: Buffer): Promise<Verdict & { readonly cpuMs: number }> {
  const size = Math.max(bytes.length, kind.expandedBytes?.(bytes) ?? 0);
  const mostMs = allowedMs + (allowedMsPerKiB * size) / 1024;
  for (let look = 1; ; look++) {
    const start = process.threadCpuUsage();
    const verdict = await kind.read(Buffer.from(bytes));
    const { user, system } = process.threadCpuUsage(start);
    const cpuMs = (user + system) / 1_000;
    if (cpuMs <= mostMs) return { ...verdict, cpuMs };
    assertTrue(
      look < looks,
      `it takes ${Math.round(cpuMs)} ms of CPU for ${size} bytes, more than ${Math.round(mostMs)}`,
    );
  }
}
