import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { allGoldenFiles } from "../support/spop/golden-frames.ts";
import { kindsOf } from "./files/file-kinds.ts";
import { readOneFile, superviseFiles } from "./files/fuzz-files.ts";
import { FuzzFailure, type FuzzFigures, type FuzzLimits, runFuzz, toHex } from "./fuzz-run.ts";
import { FuzzTarget } from "./fuzz-target.ts";
import { Mutator } from "./mutator.ts";

const help = `Usage: npm run fuzz -- [options]

Feeds damaged recordings of HAProxy to session, intake and packer, and checks ACKs, ledger, memory and time.
With --files, damages everything else that is read from outside: files to import, packs, messages, objects of captures, journals,
HTTP text, bodies to redact, patterns and the configuration. Checks that each is read or refused with a place, that undamaged
parts are not lost, that what was read can be written and read again, memory and time.

  --files        files instead of frames
  --kind NAME    only kinds of files with this in their name
  --count N      stop after N frames, or files
  --seconds N    stop after N seconds (default: 60, unless --count is given)
  --seed N       the same seed makes the same frames, or files
  --input HEX    feed one connection only: its chunks in hex, separated by spaces
  --input FILE   with --files: read this file only

Examples: npm run fuzz -- --count 10000000
          npm run fuzz -- --files --count 1000000
Exit codes: 0 nothing found, 1 a check failed, 2 wrong argument
`;

// A connection normally takes microseconds.
const hangMs = 10_000;

interface Order {
  readonly seed: number;
  readonly limits: FuzzLimits;
  /** The number of the current connection. */
  readonly current: Int32Array;
}

type Report =
  | { readonly kind: "figures"; readonly figures: FuzzFigures }
  | { readonly kind: "done"; readonly figures: FuzzFigures }
  | { readonly kind: "failed"; readonly caseNumber: number; readonly input: string; readonly reason: string };

async function work({ seed, limits, current }: Order, report: (message: Report) => void): Promise<void> {
  let nextLookMs = 1_000;
  try {
    const figures = await runFuzz(
      new Mutator(seed, allGoldenFiles()),
      limits,
      (caseNumber) => Atomics.store(current, 0, caseNumber),
      (figures) => {
        if (figures.elapsedMs < nextLookMs) return;
        nextLookMs = figures.elapsedMs + 1_000;
        report({ kind: "figures", figures });
      },
    );
    report({ kind: "done", figures });
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    const { caseNumber, input, cause, message } = error;
    const reason = cause instanceof Error ? (cause.stack ?? message) : message;
    report({ kind: "failed", caseNumber, input, reason });
  }
}

/** Runs the fuzzer in a thread, so that the main thread detects an endless loop. */
async function supervise(seed: number, limits: FuzzLimits): Promise<number> {
  const current = new Int32Array(new SharedArrayBuffer(4));
  const order: Order = { seed, limits, current };
  // A heap that grows before it is collected would hide one that leaks.
  const resourceLimits = { maxYoungGenerationSizeMb: 12 };
  const worker = new Worker(new URL(import.meta.url), { workerData: order, resourceLimits });
  process.stdout.write(`seed ${seed}\n`);
  return new Promise((resolve) => {
    let last = -1;
    const watchdog = setInterval(() => {
      const caseNumber = Atomics.load(current, 0);
      if (caseNumber === last) {
        finish(1, `\nhangs at connection ${caseNumber} of seed ${seed}`, inputOf(seed, caseNumber));
      }
      last = caseNumber;
    }, hangMs);
    const finish = (code: number, ...lines: string[]): void => {
      clearInterval(watchdog);
      process.stdout.write(`${lines.join("\n")}\n`);
      void worker.terminate().then(() => resolve(code));
    };
    worker.on("message", (message: Report) => {
      if (message.kind === "figures") show(message.figures, limits);
      else if (message.kind === "done") finish(0, `${clearLine()}${format(message.figures)}: nothing found`);
      else finish(1, `\nconnection ${message.caseNumber} of seed ${seed}: ${message.reason}`, repeat(message.input));
    });
    worker.on("error", (error) => {
      const caseNumber = Atomics.load(current, 0);
      finish(1, `\nconnection ${caseNumber} of seed ${seed}: ${error.stack}`, inputOf(seed, caseNumber));
    });
  });
}

function inputOf(seed: number, caseNumber: number): string {
  return repeat(toHex(new Mutator(seed, allGoldenFiles()).chunks(caseNumber)));
}

function repeat(input: string): string {
  return `again: npm run fuzz -- --input "${input}"`;
}

function show(figures: FuzzFigures, limits: FuzzLimits): void {
  const share = Math.max(figures.frames / limits.frames, figures.elapsedMs / limits.ms);
  const line = `${Math.floor(share * 100)} %  ${format(figures)}`;
  process.stdout.write(process.stdout.isTTY ? `${clearLine()}${line}` : `${line}\n`);
}

function clearLine(): string {
  return process.stdout.isTTY ? "\r\x1b[K" : "";
}

function format(figures: FuzzFigures): string {
  const { cases, frames, acks, requests, exactShare, refused, elapsedMs, residentMiB } = figures;
  const perSecond = (frames * 1_000) / elapsedMs;
  const [all, connections, acknowledged, packed, ended, speed] = [
    frames,
    cases,
    acks,
    requests,
    refused,
    perSecond,
  ].map((count) => Math.round(count).toLocaleString("en-US"));
  return `${all} frames in ${connections} connections, ${speed}/s, ${acknowledged} ACKs, ${packed} requests packed, of which ${(exactShare * 100).toFixed(1)} % compared byte by byte, ${ended} connections refused, ${Math.round(residentMiB)} MiB`;
}

function runOne(input: string): number {
  const chunks = input.split(/\s+/).map((hex) => Buffer.from(hex, "hex"));
  try {
    FuzzTarget.runAlone(chunks);
  } catch (error) {
    process.stdout.write(`${(error as Error).stack}\n`);
    return 1;
  }
  process.stdout.write("nothing found\n");
  return 0;
}

function parseCount(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new TypeError(`--${name} must be a whole number: ${text}`);
}

async function main(): Promise<number> {
  try {
    const option = { type: "string" } as const;
    const { values } = parseArgs({
      options: {
        files: { type: "boolean" },
        kind: option,
        count: option,
        seconds: option,
        seed: option,
        input: option,
        help: { type: "boolean" },
      },
    });
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    if (values.kind !== undefined && !values.files) throw new TypeError("--kind needs --files");
    const kinds = kindsOf(values.kind ?? "");
    if (values.input !== undefined) return values.files ? await readOneFile(values.input, kinds) : runOne(values.input);
    const frames = parseCount("count", values.count);
    const seconds = parseCount("seconds", values.seconds) ?? (frames === undefined ? 60 : Number.POSITIVE_INFINITY);
    const seed = parseCount("seed", values.seed) ?? randomInt(2 ** 31);
    const count = frames ?? Number.POSITIVE_INFINITY;
    if (values.files) {
      return await superviseFiles({ seed, limits: { files: count, ms: seconds * 1_000 }, kind: values.kind ?? "" });
    }
    return await supervise(seed, { frames: count, ms: seconds * 1_000 });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    process.stderr.write(`${error.message}\n\n${help}`);
    return 2;
  }
}

if (isMainThread) process.exitCode = await main();
else await work(workerData as Order, (message) => parentPort?.postMessage(message));
