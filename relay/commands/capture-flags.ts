import { type Command, InvalidArgumentError } from "commander";
import { openArchive } from "../archive/archive-place.ts";
import { DirectoryArchive } from "../archive/directory.ts";
import type { Archive, OpenArchive } from "../archive/port.ts";
import type { CaptureRange } from "../capture/capture-index.ts";
import { type CaptureEntry, CaptureReader } from "../capture/capture-reader.ts";
import type { CaptureConfig } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { explainMoment, parseMoment } from "../config/moment.ts";
import { matches, type When } from "../rules/when.ts";
import { Failure } from "./command-line.ts";

export interface RangeFlags {
  readonly from?: number;
  readonly to?: number;
}

export interface WhereFlag {
  readonly where?: When;
}

/** Adds --from and --to. */
export function withRange(command: Command): Command {
  return command
    .option("--from <time>", "first moment: 2026-11-20T18:00:00Z, -2h, now", parseTime)
    .option("--to <time>", "first moment that is not in it any more", parseTime);
}

/** Adds --where, which may come several times. */
export function withWhere(command: Command): Command {
  return command.option(
    "--where <condition>",
    "only requests with path=REGEX, method=GET,POST or header.NAME=REGEX; all of them must hold",
    addCondition,
  );
}

/** What --from and --to say; everything where they say nothing. Ends the command where nothing can be in it. */
export function toRange({ from = 0, to = Number.POSITIVE_INFINITY }: RangeFlags, command: Command): CaptureRange {
  if (to > from) return { fromMs: from, toMs: to };
  const [fromText, toText] = [from, to].map((ms) => new Date(ms).toISOString());
  const what = to === from ? "is the same moment: there is nothing between" : "is before";
  return command.error(`error: --to ${toText} ${what} --from ${fromText}`);
}

/** The capture of a configuration. Ends the command where there is none; throws `ConfigError`. */
export function findCapture(configFile: string, name: string, command: Command): CaptureConfig {
  const { captures } = loadConfig(configFile, process.env);
  const capture = captures.find((each) => each.name === name);
  if (capture) return capture;
  const names = captures.map((each) => each.name).join(", ");
  return command.error(`error: there is no capture ${name}: ${names ? `there is ${names}` : "the file names none"}`);
}

/** A directory is left to the host: whoever makes it owns it. Throws `ArchiveError`. */
export async function openToRead({ store }: CaptureConfig): Promise<OpenArchive> {
  return store.kind === "directory" ? DirectoryArchive.openToRead(store.directory) : openArchive(store);
}

/** Reads a capture of the configuration. Throws `ConfigError`, `ArchiveError` and what `work` rejects with. */
export async function withCapture<T>(
  configFile: string,
  name: string,
  command: Command,
  work: (archive: Archive) => Promise<T>,
): Promise<T> {
  const archive = await openToRead(findCapture(configFile, name, command));
  try {
    return await work(archive);
  } finally {
    archive.close();
  }
}

/**
 * The requests of a range that match. What cannot be read is named on standard error; at the end it is a `Failure`, since
 * what came is not all.
 */
export async function* readMatching(
  archive: Archive,
  capture: string,
  range: CaptureRange,
  where: When = {},
): AsyncGenerator<CaptureEntry> {
  const reader = new CaptureReader(archive, capture, {
    ...range,
    onSkip: ({ name, requests, reason }) =>
      process.stderr.write(`skipped ${name}, ${requests} request(s): ${reason}\n`),
  });
  for await (const entry of reader) if (matches(where, entry.request)) yield entry;
  const { parts, requests } = reader.skipped;
  if (parts > 0)
    throw new Failure(`${parts} part(s) of the capture cannot be read: ${requests} request(s) are missing`);
}

export function parseTime(text: string): number {
  const ms = parseMoment(text, Date.now());
  if (ms === undefined) throw new InvalidArgumentError(explainMoment(text));
  return ms;
}

function addCondition(text: string, before: When = {}): When {
  const match = /^(path|method|header\.([!#$%&'*+\-.^_`|~0-9A-Za-z]+))=(.+)$/s.exec(text);
  if (!match) {
    throw new InvalidArgumentError("It has to be path=REGEX, method=GET,POST or header.NAME=REGEX.");
  }
  const [, key, header, value] = match;
  if (key === "method") return { ...before, methods: value.split(",").map((method) => method.trim()) };
  const regex = compile(value);
  if (key === "path") return { ...before, path: regex };
  return { ...before, headers: { ...before.headers, [header.toLowerCase()]: regex } };
}

function compile(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(`It is no regular expression: ${(error as Error).message}.`);
  }
}
