import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { openArchive } from "../archive/archive-place.ts";
import type { Archive } from "../archive/port.ts";
import { writeCapture } from "../capture/capture-writer.ts";
import { maxCaptureMs } from "../capture/object-name.ts";
import { toPacks } from "../capture/request-packs.ts";
import { explainRead } from "../config/certificates.ts";
import type { CaptureConfig } from "../config/config.ts";
import { importRequests } from "../exchange/import.ts";
import { type ImportFormat, importFormats } from "../exchange/imported.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { printable } from "../pack/request-text.ts";
import { findCapture, parsePastTime } from "./capture-flags.ts";
import { type ConfigFlag, Failure, plural, print, WrongArgument, withConfig } from "./command-line.ts";
import { ProgressLine } from "./progress-line.ts";

export function addImport(program: Command): void {
  withConfig(program.command("import"), "read requests from files of other tools into a capture")
    .argument("<capture>", "a capture of the configuration")
    .argument(
      "<files...>",
      "GoReplay files, HAR files, nginx or HAProxy access logs, plain or gzip; - is standard input",
    )
    .addOption(
      new Option(
        "--format <format>",
        "format of the files; by default it is recognised from their first bytes",
      ).choices([...importFormats]),
    )
    .option("--time-zone <zone>", "time zone of times that have none, as in HAProxy's log", parseZone, "UTC")
    .option(
      "--base-time <time>",
      "move the times: this is the time of the first request, and the others keep their distance to it",
      parsePastTime,
    )
    .option("--skip-bad", "exit with 0 even if some requests could not be read")
    .addHelpText(
      "after",
      `
Examples: spoa-relay import shop friday.gor.gz
          spoa-relay import shop access.log.2.gz access.log.1 access.log --base-time 2026-11-20T18:00:00+01:00
The same file imported again adds nothing: its requests are unchanged. If the host has merged objects in between, they are
written again, and still replayed and exported once.`,
    )
    .action(async (name: string, files: readonly string[], flags: ImportFlags, command: Command) => {
      const capture = findCapture(flags.config, name, command);
      // All names are checked first: a misspelt one must not end the command after a part of its work.
      for (const file of files) if (file !== "-") sizeOf(file);
      const archive = await openArchive(capture.store);
      try {
        await new Importer(archive, capture, flags).run(files);
      } finally {
        archive.close();
      }
    });
}

interface ImportFlags extends ConfigFlag {
  readonly format?: ImportFormat;
  readonly timeZone: string;
  readonly baseTime?: number;
  readonly skipBad?: boolean;
}

// Requests in memory are written when they exceed either bound.
const maxHeldRequests = 10_000;
const maxHeldBytes = 8 * 1024 * 1024;
// Mistakes beyond these are counted, but not listed.
const maxListed = 100;

/** Imports files one after the other. */
class Importer {
  readonly #archive: Archive;
  readonly #capture: string;
  readonly #flags: ImportFlags;
  readonly #progress = new ProgressLine();
  readonly #oldestMs: number;
  #held: CapturedRequest[] = [];
  #heldBytes = 0;
  #sequence = 1;
  #index = 0;
  #shiftMs: number | undefined;
  #imported = 0;
  #existing = 0;
  #mistakes = 0;
  #tooOld = 0;

  constructor(archive: Archive, { name, keepMs }: CaptureConfig, flags: ImportFlags) {
    this.#archive = archive;
    this.#capture = name;
    this.#oldestMs = Date.now() - keepMs;
    this.#flags = flags;
  }

  async run(files: readonly string[]): Promise<void> {
    for (const file of files) {
      // Packs do not span files: a file makes the same packs again, whichever files are imported with it.
      this.#sequence = 1;
      this.#index = 0;
      await this.#read(file);
      await this.#write();
    }
    this.#progress.clear();
    const written = (this.#imported - this.#existing).toLocaleString("en-US");
    const unchanged = this.#existing.toLocaleString("en-US");
    print(
      `imported ${plural(this.#imported, "request")} into ${this.#capture}: ${written} written, ${unchanged} unchanged`,
    );
    if (this.#tooOld > 0) {
      const count = plural(this.#tooOld, "request");
      process.stderr.write(
        `warning: ${count} older than captures.${this.#capture}.keep: the host will delete them; --base-time moves their times\n`,
      );
    }
    if (this.#mistakes === 0) return;
    const text = `${plural(this.#mistakes, "request")} could not be read`;
    if (!this.#flags.skipBad) throw new Failure(`${text}; with --skip-bad the exit code is 0`);
    process.stderr.write(`${text}\n`);
  }

  async #read(file: string): Promise<void> {
    const { format, timeZone } = this.#flags;
    const name = file === "-" ? "standard input" : basename(file);
    const size = file === "-" ? undefined : sizeOf(file);
    const stream = file === "-" ? process.stdin : createReadStream(file);
    let readBytes = 0;
    const counted = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        readBytes += chunk.length;
        yield chunk;
      }
    };
    for await (const item of importRequests(counted(), { name, timeZone, ...(format && { format }) })) {
      if (item.kind === "mistake") this.#complain(item.place, item.reason);
      else if (item.kind === "format") {
        this.#progress.clear();
        process.stderr.write(`${printable(name)}: read as ${item.format}${item.note ? `; ${item.note}` : ""}\n`);
      } else await this.#take(name, item.request);
      this.#progress.show(() => `${printable(name)}: ${this.#index} requests${formatShare(readBytes, size)}`);
    }
  }

  async #take(name: string, request: CapturedRequest): Promise<void> {
    this.#shiftMs ??= this.#flags.baseTime === undefined ? 0 : this.#flags.baseTime - request.capturedAtMs;
    const capturedAtMs = request.capturedAtMs + this.#shiftMs;
    if (capturedAtMs < 0 || capturedAtMs > maxCaptureMs) {
      return this.#complain(name, "a request has a time before 1970 or after the year 9999");
    }
    if (capturedAtMs < this.#oldestMs) this.#tooOld++;
    this.#held.push({ ...request, index: this.#index++, capturedAtMs });
    this.#heldBytes += request.body.length;
    if (this.#held.length >= maxHeldRequests || this.#heldBytes >= maxHeldBytes) await this.#write();
  }

  async #write(): Promise<void> {
    const packs = toPacks(this.#held, { agent: "import", sequence: this.#sequence });
    this.#held = [];
    this.#heldBytes = 0;
    this.#sequence += packs.length;
    const shares = packs.map((pack) => ({ pack, requests: pack.requests }));
    const { requests, existing, refused } = await writeCapture(this.#archive, this.#capture, shares);
    this.#imported += requests;
    this.#existing += existing;
    if (refused > 0)
      this.#complain(this.#capture, `${plural(refused, "request")} larger than an object can be (64 MiB)`);
  }

  #complain(place: string, reason: string): void {
    this.#mistakes++;
    if (this.#mistakes > maxListed) return;
    this.#progress.clear();
    process.stderr.write(`${printable(place)}: ${reason}\n`);
    if (this.#mistakes === maxListed) process.stderr.write("further mistakes are counted, but not listed\n");
  }
}

function sizeOf(file: string): number {
  try {
    const stats = statSync(file);
    if (stats.isDirectory()) throw new WrongArgument(`${file} is a directory`);
    return stats.size;
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const text = `${file} cannot be read: ${explainRead(error)}`;
    throw code === "ENOENT" || code === "ENOTDIR" ? new WrongArgument(text) : new Failure(text);
  }
}

function formatShare(readBytes: number, size: number | undefined): string {
  return size ? `, ${Math.min(100, Math.floor((readBytes / size) * 100))}%` : "";
}

function parseZone(text: string): string {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: text });
    return text;
  } catch {
    throw new InvalidArgumentError("It must be a time zone, such as Europe/Berlin.");
  }
}
