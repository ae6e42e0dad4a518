import { once } from "node:events";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Archive, ArchiveError } from "../archive/port.ts";
import { type CaptureRange, type CaptureTotals, listCapture, sumCapture } from "../capture/capture-index.ts";
import { bounds } from "../config/bounds.ts";
import type { CaptureConfig } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { parseCount } from "../config/units.ts";
import { type LineOptions, toHttpText, toJsonLine } from "../pack/request-line.ts";
import {
  openToRead,
  type RangeFlags,
  readMatching,
  toRange,
  type WhereFlag,
  withCapture,
  withRange,
  withWhere,
} from "./capture-flags.ts";
import { type ConfigFlag, Failure, formatTable, print, withConfig } from "./command-line.ts";

export function addCaptures(program: Command): void {
  const captures = program.command("captures").description("look at the requests that captures keep");
  withConfig(captures.command("list"), "list the captures and what they hold")
    .addHelpText("after", "\nExample: spoa-relay captures list")
    .action(async ({ config }: ConfigFlag) => listCaptures(loadConfig(config, process.env).captures));
  withRange(withConfig(captures.command("show"), "show how many requests a capture has in each hour"))
    .argument("<capture>")
    .addHelpText("after", "\nExample: spoa-relay captures show shop --from 2026-11-20T00:00:00+01:00 --to now")
    .action(async (name: string, { config, ...flags }: ConfigFlag & RangeFlags, command: Command) => {
      const range = toRange(flags, command);
      await withCapture(config, name, command, (archive) => showCapture(archive, name, range));
    });
  withWhere(withRange(withConfig(captures.command("cat"), "print the requests of a capture in order of their time")))
    .argument("<capture>")
    .option("--limit <n>", "stop after n requests", parseLimit)
    .addOption(
      new Option("--format <format>", "HTTP text, or one line of JSON per request")
        .choices(["http", "json"])
        .default("http"),
    )
    .option("--secrets", "print what looks like a secret as well, in headers, paths and bodies")
    .addHelpText("after", `\nExample: spoa-relay captures cat shop --from -2h --where 'path=^/api/' --limit 10`)
    .action(async (name: string, flags: CatFlags, command: Command) => {
      const range = toRange(flags, command);
      await withCapture(flags.config, name, command, (archive) => catCapture(archive, name, range, flags));
    });
}

interface CatFlags extends ConfigFlag, RangeFlags, WhereFlag {
  readonly limit?: number;
  readonly format: "http" | "json";
  readonly secrets?: boolean;
}

const hourMs = 3_600_000;
const all: CaptureRange = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };

async function listCaptures(captures: readonly CaptureConfig[]): Promise<void> {
  if (captures.length === 0) return print("no captures: the configuration has none under captures:");
  const rows: string[][] = [["capture", "store", "first", "last", "requests", "bytes", "objects"]];
  const problems: string[] = [];
  for (const capture of captures) {
    const { name } = capture;
    try {
      rows.push([name, formatStore(capture), ...formatTotals(await sumStored(capture))]);
    } catch (error) {
      if (!(error instanceof ArchiveError)) throw error;
      rows.push([name, formatStore(capture), "?", "?", "?", "?", "?"]);
      problems.push(`${name}: ${error.message}`);
    }
  }
  print(formatTable(rows, process.stdout));
  if (problems.length > 0) throw new Failure(problems.join("\n"));
}

async function sumStored(capture: CaptureConfig): Promise<CaptureTotals> {
  const { name } = capture;
  const archive = await openToRead(capture);
  try {
    return await sumCapture(archive, name, all);
  } finally {
    archive.close();
  }
}

function formatStore({ name, store }: CaptureConfig): string {
  if (store.kind === "directory") return `${store.directory}/${name}`;
  return ["s3:/", store.bucket, ...(store.prefix ? [store.prefix] : []), name].join("/");
}

function formatTotals({ firstMs, lastMs, requests, bytes, objects }: CaptureTotals): readonly string[] {
  const [first, last] = [firstMs, lastMs].map((ms) => (ms === undefined ? "–" : new Date(ms).toISOString()));
  return [first, last, `${requests}`, `${bytes}`, `${objects}`];
}

/** Counts each object in the hour of its first request, and whole even if it extends beyond the range. */
async function showCapture(archive: Archive, name: string, range: CaptureRange): Promise<void> {
  const hours = new Map<number, { requests: number; bytes: number; objects: number }>();
  const total = { requests: 0, bytes: 0, objects: 0 };
  for await (const { firstMs, requests, bytes } of listCapture(archive, name, range)) {
    const hour = Math.floor(firstMs / hourMs);
    const sums = hours.get(hour) ?? { requests: 0, bytes: 0, objects: 0 };
    hours.set(hour, sums);
    for (const each of [sums, total]) {
      each.requests += requests;
      each.bytes += bytes;
      each.objects++;
    }
  }
  if (hours.size === 0) return print("no requests in this range");
  const rows = [...hours].map(([hour, sums]) => [
    `${new Date(hour * hourMs).toISOString().slice(0, 13)}:00Z`,
    ...row(sums),
  ]);
  print(formatTable([["hour", "requests", "bytes", "objects"], ...rows, ["all", ...row(total)]], process.stdout));
}

function row(sums: { readonly requests: number; readonly bytes: number; readonly objects: number }): readonly string[] {
  return [`${sums.requests}`, `${sums.bytes}`, `${sums.objects}`];
}

async function catCapture(
  archive: Archive,
  name: string,
  range: CaptureRange,
  { where, limit = Number.POSITIVE_INFINITY, format, secrets = false }: CatFlags,
): Promise<void> {
  const toText = format === "json" ? toJsonLine : toHttpText;
  const options: LineOptions = { secrets };
  let printed = 0;
  if (limit === 0) return;
  for await (const { request } of readMatching(archive, name, range, where)) {
    // Waits for the reader: a capture can be larger than memory.
    if (!process.stdout.write(`${toText(request, options)}\n`)) await once(process.stdout, "drain");
    if (++printed >= limit) return;
  }
}

function parseLimit(text: string): number {
  const limit = parseCount(text, bounds.printed);
  if (limit !== undefined) return limit;
  throw new InvalidArgumentError(`It must be a number of requests, at most ${bounds.printed.most}.`);
}
