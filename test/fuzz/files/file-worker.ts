import { parentPort, workerData } from "node:worker_threads";
import { kindsOf } from "./file-kinds.ts";
import { FileMutator } from "./file-mutator.ts";
import { checkSeeds, FileFailure, type FileFigures, type FileLimits, runFiles } from "./file-run.ts";

export interface FileOrder {
  readonly seed: number;
  readonly limits: FileLimits;
  /** Only kinds with this in their name; all if it is empty. */
  readonly kind: string;
  /** The number of the current file. */
  readonly current: Int32Array;
}

export type FileReport =
  | { readonly kind: "figures"; readonly figures: FileFigures }
  | { readonly kind: "done"; readonly figures: FileFigures }
  | {
      readonly kind: "failed";
      readonly caseNumber: number;
      readonly of: string;
      readonly bytes: Uint8Array;
      readonly reason: string;
    };

async function work({ seed, limits, kind, current }: FileOrder, report: (message: FileReport) => void): Promise<void> {
  let nextLookMs = 1_000;
  try {
    await checkSeeds(kindsOf(kind));
    const figures = await runFiles(
      new FileMutator(seed, kindsOf(kind)),
      limits,
      (caseNumber) => Atomics.store(current, 0, caseNumber),
      (figures) => {
        if (figures.elapsedMs < nextLookMs) return;
        nextLookMs = figures.elapsedMs + 5_000;
        report({ kind: "figures", figures });
      },
    );
    report({ kind: "done", figures });
  } catch (error) {
    if (!(error instanceof FileFailure)) throw error;
    const { caseNumber, kind: of, bytes, message } = error;
    report({ kind: "failed", caseNumber, of, bytes, reason: message });
  }
}

await work(workerData as FileOrder, (message) => parentPort?.postMessage(message));
