import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { FileKind } from "./file-kind.ts";
import { kindsOf } from "./file-kinds.ts";
import { FileMutator } from "./file-mutator.ts";
import type { FileFigures, FileLimits } from "./file-run.ts";
import type { FileOrder, FileReport } from "./file-worker.ts";

// A file normally takes a millisecond. On a busy machine only CPU time tells a loop from one that waits for its turn.
const hangCpuMs = 20_000;
const lookMs = 5_000;
const heapMiB = 1_024;

/** Reads a file as of the kind, and checks what the reader makes of it. */
export async function readOneFile(path: string, kinds: readonly FileKind[]): Promise<number> {
  for (const kind of kinds) {
    try {
      const { accepted, refused } = await kind.read(readFileSync(path));
      process.stdout.write(`${kind.name}: ${accepted} accepted, ${refused} refused, nothing found\n`);
    } catch (error) {
      process.stdout.write(`${kind.name}: ${(error as Error).stack}\n`);
      return 1;
    }
  }
  return 0;
}

/** Reads files in a thread, so that the main thread detects an endless loop, and a promise that is never settled. */
export async function superviseFiles(order: Omit<FileOrder, "current">): Promise<number> {
  const current = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL("./file-worker.ts", import.meta.url), {
    workerData: { ...order, current } satisfies FileOrder,
    resourceLimits: { maxOldGenerationSizeMb: heapMiB },
  });
  process.stdout.write(`seed ${order.seed}\n`);
  return new Promise((resolve) => {
    let last = -1;
    let start = process.cpuUsage();
    let finished = false;
    const finish = (code: number, ...lines: string[]): void => {
      if (finished) return;
      finished = true;
      clearInterval(watchdog);
      process.stdout.write(`${lines.join("\n")}\n`);
      void worker.terminate().then(() => resolve(code));
    };
    const fail = (caseNumber: number, reason: string): void => {
      const { kind, bytes } = new FileMutator(order.seed, kindsOf(order.kind)).file(caseNumber);
      finish(1, `\nfile ${caseNumber} of seed ${order.seed}, ${kind.name}: ${reason}`, repeat(kind.name, bytes));
    };
    const watchdog = setInterval(() => {
      const caseNumber = Atomics.load(current, 0);
      if (caseNumber !== last) start = process.cpuUsage();
      last = caseNumber;
      const { user, system } = process.cpuUsage(start);
      if ((user + system) / 1_000 > hangCpuMs) fail(caseNumber, "it hangs");
    }, lookMs);
    worker.on("message", (message: FileReport) => {
      if (message.kind === "figures") show(message.figures, order.limits);
      else if (message.kind === "done")
        finish(0, `${table(message.figures)}\n${format(message.figures)}: nothing found`);
      else {
        const { caseNumber, of, bytes, reason } = message;
        const which = caseNumber < 0 ? "an undamaged file" : `file ${caseNumber} of seed ${order.seed}`;
        finish(1, `\n${which}, ${of}: ${reason}`, repeat(of, bytes));
      }
    });
    worker.on("error", (error) => fail(Atomics.load(current, 0), String((error as Error).stack)));
    worker.on("exit", () => fail(Atomics.load(current, 0), "its reader never ends"));
  });
}

/** Keeps the file, and says how to read it again. */
function repeat(kind: string, bytes: Uint8Array): string {
  const path = join(mkdtempSync(join(tmpdir(), "spoa-relay-fuzz-")), "file");
  writeFileSync(path, bytes);
  return `again: npm run fuzz -- --files --kind "${kind}" --input ${path}`;
}

function show(figures: FileFigures, { files, ms }: FileLimits): void {
  const share = Math.max(figures.files / files, figures.elapsedMs / ms);
  process.stdout.write(`${Math.floor(share * 100)} %  ${format(figures)}\n`);
}

function table({ kinds }: FileFigures): string {
  const rows = Object.entries(kinds).map(([name, { files, accepted, refused, slowestMs }]) =>
    [
      name.padEnd(16),
      ...[files, accepted, refused].map((count) => count.toLocaleString("en-US").padStart(14)),
      `${slowestMs.toFixed(1).padStart(10)} ms`,
    ].join(""),
  );
  const head = [
    "kind".padEnd(16),
    ...["files", "accepted", "refused"].map((title) => title.padStart(14)),
    "slowest CPU".padStart(13),
  ].join("");
  return [head, ...rows].join("\n");
}

function format({ files, bytes, elapsedMs, residentMiB }: FileFigures): string {
  const perSecond = Math.round((files * 1_000) / elapsedMs);
  const [all, speed] = [files, perSecond].map((count) => count.toLocaleString("en-US"));
  return `${all} files of ${Math.round(bytes / 1024 / 1024)} MiB, ${speed}/s, ${Math.round(residentMiB)} MiB of memory`;
}
