import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { openArchive } from "../archive/archive-place.ts";
import type { Archive } from "../archive/port.ts";
import { writeCapture } from "../capture/capture-writer.ts";
import { maxCaptureMs } from "../capture/object-name.ts";
import { findPresent } from "../capture/present-requests.ts";
import { toPacks } from "../capture/request-packs.ts";
import { explainRead } from "../config/certificates.ts";
import type { CaptureConfig } from "../config/config.ts";
import { importRequests } from "../exchange/import.ts";
import { hostOf, type ImportFormat, importFormats, memoryBytes } from "../exchange/imported.ts";
import { RequestIdSource } from "../exchange/request-ids.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { printable } from "../pack/request-text.ts";
import { matches } from "../rules/when.ts";
import { findCapture, parsePastTime, type WhereFlag, withWhere } from "./capture-flags.ts";
import { type ConfigFlag, Failure, plural, print, WrongArgument, withConfig } from "./command-line.ts";
import { ImportTally } from "./import-tally.ts";
import { ProgressLine } from "./progress-line.ts";

export function addImport(program: Command): void {
  withWhere(withConfig(program.command("import"), "read requests from files of other tools into a capture"))
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
    .option("--host <host>", "only requests to this host; can be given several times", addHost)
    .option("--time-zone <zone>", "time zone of times that have none, as in HAProxy's log", parseZone, "UTC")
    .option(
      "--base-time <time>",
      "move the times: this is the time of the first imported request, and the others keep their distance to it",
      parsePastTime,
    )
    .option("--skip-bad", "exit with 0 even if some requests could not be read")
    .addHelpText(
      "after",
      `
Examples: spoa-relay import shop friday.gor.gz
          spoa-relay import shop access.log.2.gz access.log.1 access.log --base-time 2026-11-20T18:00:00+01:00
          spoa-relay import shop browser.har --host shop.example --where path=^/api/
Requests that no server got (blocked, from a cache, not HTTP) or that cannot be sent again (CONNECT, WebSockets) are left
out and counted. Only damaged parts of a file make the exit code 1.
The same file imported again adds nothing, also with another --where or --host, or after requests were appended to it: the
requests that the capture already has are counted. With another --base-time they are new requests.`,
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

interface ImportFlags extends ConfigFlag, WhereFlag {
  readonly host?: readonly string[];
  readonly format?: ImportFormat;
  readonly timeZone: string;
  readonly baseTime?: number;
  readonly skipBad?: boolean;
}

interface HeldRequest {
  readonly ids: readonly string[];
  readonly request: CapturedRequest;
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
  readonly #ids = new RequestIdSource();
  readonly #tally = new ImportTally();
  /** Names of the objects that the current file made: no request is in a file twice. */
  readonly #written = new Set<string>();
  #held: HeldRequest[] = [];
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
      this.#written.clear();
      this.#index = 0;
      await this.#read(file);
      await this.#write();
    }
    this.#progress.clear();
    this.#report();
    if (this.#mistakes === 0) return;
    const text = `${plural(this.#mistakes, "request")} could not be read`;
    if (!this.#flags.skipBad) throw new Failure(`${text}; with --skip-bad the exit code is 0`);
    process.stderr.write(`${text}\n`);
  }

  #report(): void {
    const added = (this.#imported - this.#existing).toLocaleString("en-US");
    const existing = this.#existing.toLocaleString("en-US");
    print(
      `imported ${plural(this.#imported, "request")} into ${this.#capture}: ${added} new, ${existing} already there`,
    );
    process.stdout.write(this.#tally.formatReasons());
    process.stdout.write(this.#tally.formatHosts(process.stdout));
    const hosts = this.#tally.importedHosts;
    if (hosts > 1 && !this.#flags.host) {
      process.stderr.write(
        `note: a replay sends the requests to all ${hosts} hosts to its target; --host chooses a host\n`,
      );
    }
    if (this.#tooOld > 0) {
      const count = plural(this.#tooOld, "request");
      process.stderr.write(
        `warning: ${count} older than captures.${this.#capture}.keep: the host will delete them; --base-time moves their times\n`,
      );
    }
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
    const options = { name, timeZone, ids: this.#ids, ...(format && { format }) };
    for await (const item of importRequests(counted(), options)) {
      if (item.kind === "mistake") this.#complain(item.place, item.reason);
      else if (item.kind === "leftOut") this.#tally.leaveOut(item.reason, item.host);
      else if (item.kind === "format") {
        this.#progress.clear();
        process.stderr.write(`${printable(name)}: read as ${item.format}${item.note ? `; ${item.note}` : ""}\n`);
      } else await this.#take(name, item.request, item.otherId);
      this.#progress.show(() => `${printable(name)}: ${this.#index} requests${formatShare(readBytes, size)}`);
    }
  }

  async #take(name: string, request: CapturedRequest, otherId: string | undefined): Promise<void> {
    const { where = {}, host: hosts } = this.#flags;
    const host = hostOf(request);
    if (hosts && !hosts.some((wanted) => isHost(host, wanted)))
      return this.#tally.leaveOut("another host (--host)", host);
    if (!matches(where, request)) return this.#tally.leaveOut("no match for --where", host);
    this.#shiftMs ??= this.#flags.baseTime === undefined ? 0 : this.#flags.baseTime - request.capturedAtMs;
    const capturedAtMs = request.capturedAtMs + this.#shiftMs;
    if (capturedAtMs < 0 || capturedAtMs > maxCaptureMs) {
      return this.#complain(name, "a request has a time before 1970 or after the year 9999");
    }
    if (capturedAtMs < this.#oldestMs) this.#tooOld++;
    const ids = [request.id, ...(otherId === undefined ? [] : [otherId])];
    this.#held.push({ ids, request: { ...request, index: this.#index++, capturedAtMs } });
    this.#heldBytes += memoryBytes(request);
    if (this.#held.length >= maxHeldRequests || this.#heldBytes >= maxHeldBytes) await this.#write();
  }

  async #write(): Promise<void> {
    const present = await findPresent(this.#archive, this.#capture, this.#held, this.#written);
    for (const held of this.#held) this.#tally.count(present.has(held) ? "present" : "new", hostOf(held.request));
    const added = this.#held.filter((held) => !present.has(held)).map(({ request }) => request);
    const packs = toPacks(added, { agent: "import", sequence: this.#sequence });
    this.#held = [];
    this.#heldBytes = 0;
    this.#sequence += packs.length;
    const shares = packs.map((pack) => ({ pack, requests: pack.requests }));
    const { objects, requests, existing, refused } = await writeCapture(this.#archive, this.#capture, shares);
    for (const { name } of objects) this.#written.add(name);
    this.#imported += present.size + requests;
    this.#existing += present.size + existing;
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

/** Without a port, `wanted` is the host at any port. */
function isHost(host: string, wanted: string): boolean {
  const lowerCase = host.toLowerCase();
  return lowerCase === wanted || lowerCase.replace(/:\d*$/, "") === wanted;
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

function addHost(text: string, before: readonly string[] = []): readonly string[] {
  if (/^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i.test(text)) return [...before, text.toLowerCase()];
  throw new InvalidArgumentError("It must be a host, such as shop.example or shop.example:8080.");
}

function parseZone(text: string): string {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: text });
    return text;
  } catch {
    throw new InvalidArgumentError("It must be a time zone, such as Europe/Berlin.");
  }
}
