import { type Command, InvalidArgumentError } from "commander";
import { openArchive } from "../archive/archive-place.ts";
import { DirectoryArchive } from "../archive/directory.ts";
import type { Archive, OpenArchive } from "../archive/port.ts";
import type { CaptureRange } from "../capture/capture-index.ts";
import { type CaptureEntry, CaptureReader } from "../capture/capture-reader.ts";
import type { CaptureConfig } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { explainMoment, parseMoment } from "../config/moment.ts";
import { Pattern } from "../rules/pattern.ts";
import { PatternError } from "../rules/pattern-error.ts";
import { matches, type When } from "../rules/when.ts";
import { Failure, plural } from "./command-line.ts";

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
    .option("--from <time>", "start of the range: 2026-11-20T18:00:00Z, -2h, now (default: everything)", parsePastTime)
    .option("--to <time>", "end of the range; requests at this moment are not included", parsePastTime);
}

/** Adds --where, which can be given several times. */
export function withWhere(command: Command): Command {
  return command.option(
    "--where <condition>",
    "only requests with path=REGEX, method=GET,POST or header.NAME=REGEX; if given several times, all must match",
    addCondition,
  );
}

/** The range of --from and --to; all times if neither is given. Ends the command if the range is empty. */
export function toRange({ from = 0, to = Number.POSITIVE_INFINITY }: RangeFlags, command: Command): CaptureRange {
  if (to > from) return { fromMs: from, toMs: to };
  const [fromText, toText] = [from, to].map((ms) => new Date(ms).toISOString());
  const relation = to === from ? "is the same moment as" : "is before";
  return command.error(`error: --to ${toText} ${relation} --from ${fromText}: the range is empty`);
}

/** The capture of this name. Ends the command if the configuration has none; throws `ConfigError`. */
export function findCapture(configFile: string, name: string, command: Command): CaptureConfig {
  const { captures } = loadConfig(configFile, process.env);
  const capture = captures.find((each) => each.name === name);
  if (capture) return capture;
  const names = captures.map((each) => each.name).join(", ");
  const known = names ? `the configuration has: ${names}` : "the configuration has no captures";
  return command.error(`error: there is no capture ${name}; ${known}`);
}

/** Opens the archive of a capture. Never creates a directory: the host creates and owns it. Throws `ArchiveError`. */
export async function openToRead({ store }: CaptureConfig): Promise<OpenArchive> {
  return store.kind === "directory" ? DirectoryArchive.openToRead(store.directory) : openArchive(store);
}

/** Runs `work` on a capture of the configuration. Throws `ConfigError`, `ArchiveError` and the errors of `work`. */
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
 * The requests of a range that match. Names each part that cannot be read on standard error, and then throws a `Failure`
 * after the last request.
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
      process.stderr.write(`skipped ${name}, ${plural(requests, "request")}: ${reason}\n`),
  });
  for await (const entry of reader) if (matches(where, entry.request)) yield entry;
  const { parts, requests } = reader.skipped;
  if (parts > 0) {
    throw new Failure(`${plural(parts, "part")} of the capture cannot be read: missing ${plural(requests, "request")}`);
  }
}

/** Parses the time of captured requests, in milliseconds since 1970; suggests `-2h` if the text is not a time. */
export function parsePastTime(text: string): number {
  return parseTime(text, "-2h");
}

/** Parses a future time, in milliseconds since 1970; suggests `+10m` if the text is not a time. */
export function parseComingTime(text: string): number {
  return parseTime(text, "+10m");
}

function parseTime(text: string, relative: "-2h" | "+10m"): number {
  const ms = parseMoment(text, Date.now());
  if (ms === undefined) throw new InvalidArgumentError(explainMoment(text, relative));
  return ms;
}

function addCondition(text: string, before: When = {}): When {
  const match = /^(path|method|header\.([!#$%&'*+\-.^_`|~0-9A-Za-z]+))=(.+)$/s.exec(text);
  if (!match) {
    throw new InvalidArgumentError("It must be path=REGEX, method=GET,POST or header.NAME=REGEX.");
  }
  const [, key, header, value] = match;
  if (key === "method") return { ...before, methods: value.split(",").map((method) => method.trim()) };
  const regex = compile(value);
  if (key === "path") return { ...before, path: regex };
  return { ...before, headers: { ...before.headers, [header.toLowerCase()]: regex } };
}

function compile(text: string): Pattern {
  try {
    return new Pattern(text);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    throw new InvalidArgumentError(`It is not a regular expression that can be used: ${error.reason}.`);
  }
}
