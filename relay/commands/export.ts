import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { exportRequests } from "../exchange/export.ts";
import { type ExportFormat, exportFormats } from "../exchange/exported.ts";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { printable } from "../pack/request-text.ts";
import {
  type RangeFlags,
  readMatching,
  toRange,
  type WhereFlag,
  withCapture,
  withRange,
  withWhere,
} from "./capture-flags.ts";
import { type ConfigFlag, Failure, plural, WrongArgument, withConfig } from "./command-line.ts";

export function addExport(program: Command): void {
  withWhere(
    withRange(withConfig(program.command("export"), "write the requests of a capture as a file for other tools")),
  )
    .argument("<capture>")
    .addOption(
      new Option("--format <format>", "required: format of the file").choices([...exportFormats]).makeOptionMandatory(),
    )
    .option(
      "--target <url>",
      "origin that the requests are addressed to, in Host headers, URLs of a HAR file and scripts",
      parseTarget,
    )
    .option("--redact", "replace what looks like a secret in headers, paths and bodies")
    .option("-o, --output <file>", "write to this file instead of standard output")
    .addHelpText(
      "after",
      `
Examples: spoa-relay export shop --format goreplay --from -1h -o shop.gor
          spoa-relay export shop --format har --where 'path=^/api/' --redact > shop.har`,
    )
    .action(async (name: string, flags: ExportFlags, command: Command) => {
      const range = toRange(flags, command);
      await withCapture(flags.config, name, command, async (archive) => {
        let missing: Failure | undefined;
        const requests = (async function* () {
          try {
            for await (const { request } of readMatching(archive, name, range, flags.where)) {
              yield flags.target ? addressTo(request, flags.target) : request;
            }
          } catch (error) {
            // Reported after the file is complete: the requests that can be read make a valid file.
            if (!(error instanceof Failure)) throw error;
            missing = error;
          }
        })();
        await exportTo(requests, flags);
        if (missing) throw missing;
      });
    });
}

interface ExportFlags extends ConfigFlag, RangeFlags, WhereFlag {
  readonly format: ExportFormat;
  readonly target?: URL;
  readonly redact?: boolean;
  readonly output?: string;
}

// Left-out requests beyond these are counted, but not listed.
const maxListed = 100;

async function exportTo(
  requests: AsyncIterable<CapturedRequest>,
  { format, redact = false, output, target }: ExportFlags,
): Promise<void> {
  const skipped = new Map<string, number>();
  const lost = new Map<string, number>();
  let listed = 0;
  const onSkipped = ({ id }: CapturedRequest, reason: string) => {
    addOne(skipped, reason);
    if (++listed <= maxListed) process.stderr.write(`left out ${printable(id)}: ${reason}\n`);
    if (listed === maxListed) process.stderr.write("further requests are counted, but not listed\n");
  };
  const onLost = (part: string) => addOne(lost, part);
  // Readable by its owner only: the requests hold credentials.
  const file = output === undefined ? undefined : createWriteStream(output, { mode: 0o600 });
  const stream = file ?? process.stdout;
  // Observed from the start: the file may fail before the first byte.
  const written = file && finished(file);
  written?.catch(() => {});
  try {
    for await (const piece of exportRequests(format, requests, {
      redact,
      onSkipped,
      onLost,
      ...(target && { target }),
    })) {
      if (file?.errored) break;
      if (!stream.write(piece)) await Promise.race([once(stream, "drain"), ...(written ? [written] : [])]);
    }
    file?.end();
    await written;
  } catch (error) {
    file?.destroy();
    throw (error as NodeJS.ErrnoException).syscall && output !== undefined ? explainWrite(error, output) : error;
  }
  for (const [reason, count] of skipped) process.stderr.write(`${plural(count, "request")} left out: ${reason}\n`);
  for (const [part, count] of lost) {
    process.stderr.write(`${plural(count, "request")} written without a part that ${format} cannot hold: ${part}\n`);
  }
}

function addOne(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The failure of writing a file, with its path as it was typed. A place that cannot hold the file is a wrong argument. */
function explainWrite(error: unknown, output: string): Failure {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const wrong = wrongPlaces[code];
  if (wrong !== undefined) return new WrongArgument(`${output} cannot be written: ${wrong}`);
  const denied = code === "EACCES" || code === "EPERM" || code === "EROFS";
  return new Failure(`${output} cannot be written: ${denied ? "this user is not allowed to write it" : message}`);
}

const wrongPlaces: Readonly<Record<string, string>> = {
  ENOENT: "its directory does not exist",
  ENOTDIR: "a part of its path is not a directory",
  EISDIR: "it is a directory",
};

/** The request with this Host header, in the place of the old one or else first. */
function addressTo(request: CapturedRequest, { host }: URL): CapturedRequest {
  const headers: string[] = [];
  let found = false;
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const isHost = request.headers[i].toLowerCase() === "host";
    if (isHost && found) continue;
    headers.push(request.headers[i], isHost ? host : request.headers[i + 1]);
    found ||= isHost;
  }
  return { ...request, headers: found ? headers : ["Host", host, ...headers] };
}

function parseTarget(text: string): URL {
  const url = URL.parse(text);
  if (url && /^https?:$/.test(url.protocol) && url.pathname === "/" && !url.search && !url.username) return url;
  throw new InvalidArgumentError("It must be an origin, such as http://localhost:8080.");
}
