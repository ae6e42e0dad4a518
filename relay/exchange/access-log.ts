import type { ByteStream } from "./byte-stream.ts";
import { type Parsed, type ReadItem, toOriginForm } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { splitRecords } from "./record-splitter.ts";

/** Parses a line (one character per byte) into a request, or returns the reason why it is not one. */
export type LogLineParser = (line: string, timeZone: string) => Parsed;

/** Printed before an import: what requests from a log lack. */
export const haproxyNote =
  "a log has only methods and paths: requests are imported without headers, and their bodies are marked omitted";
export const nginxNote = `${haproxyNote}; times are those of the responses, to the second`;

/** No server accepts a request line this long, so a longer line cannot be a log line. */
const maxLineBytes = 256 * 1024;
const lineFeed = Buffer.from("\n");

/** Reads the requests of a log line by line. */
export async function* readAccessLog(
  stream: ByteStream,
  name: string,
  parse: LogLineParser,
  timeZone: string,
): AsyncGenerator<ReadItem> {
  for await (const { bytes, number } of splitRecords(stream, lineFeed, maxLineBytes)) {
    const line = bytes?.toString("latin1").replace(/\r$/, "");
    if (line === "") continue;
    const parsed = line === undefined ? "the line is longer than 256 KiB" : parse(line, timeZone);
    if (typeof parsed !== "string") yield { kind: "request", request: parsed };
    else yield { kind: "mistake", place: `${name}:${number}`, reason: parsed };
  }
}

// The quantifiers are bounded: otherwise a hostile line could take quadratic time. A syslog daemon may put its own
// fields in front.
const nginxLine =
  /(?:^|: )([^ "]{1,256}) [^ ]{1,256} [^["]{0,256}\[([^\]]{1,40})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d{1,15}|-)(?: |$)/;
const haproxyLine =
  /(?:^|[ ])([^ ]{1,256}):\d{1,10} \[([^\]]{1,40})\] [^ ]{1,256} [^ ]{1,512} (?:-?\d{1,10}\/){4}\+?(-?\d{1,10}) (-?\d{1,3}) \+?(\d{1,15}) /;

/** Parses nginx `combined` and `main` and Apache `common` and `combined`: their first fields are the same. */
export const parseNginxLine: LogLineParser = (line, timeZone) => {
  const match = nginxLine.exec(line);
  if (!match) return "the line is not in nginx's combined format";
  const [, src, time, request, status, bytes] = match;
  // nginx and Apache escape control characters, quotes and backslashes like this (ngx_http_log_module: escape=default).
  const text = request.replace(/\\(?:x([0-9A-Fa-f]{2})|(.))/g, (_all, hex?: string, char?: string) =>
    hex === undefined ? (char ?? "") : byteOf(hex),
  );
  return toRequest(text, parseLogTime(time, timeZone), src, {
    status: Number(status),
    ...(bytes !== "-" && { bytes: Number(bytes) }),
  });
};

/**
 * Parses HAProxy's `option httplog` and `option httpslog`, with or without captured headers (configuration.txt 8.2.3).
 */
export const parseHaproxyLine: LogLineParser = (line, timeZone) => {
  const match = haproxyLine.exec(line);
  if (!match) return "the line is not in HAProxy's HTTP log format";
  const [, src, time, activeMs, status, bytes] = match;
  // Only the request is in quotes (configuration.txt 8.6). syslog-ng puts a backslash before them.
  const [, request, ...rest] = line.slice(match.index + match[0].length).split(/\\?"/);
  if (request === undefined) return "the line has no request";
  // A syslog daemon cut the line: its path is incomplete.
  if (rest.length === 0) return "the line is cut off within the request";
  const text = request.replace(/#([0-9A-Fa-f]{2})/g, (_all, hex: string) => byteOf(hex));
  return toRequest(text, parseLogTime(time, timeZone), src === "unix" ? "" : src, {
    ...(Number(status) > 0 && { status: Number(status) }),
    ...(Number(activeMs) >= 0 && { timeMs: Number(activeMs) }),
    bytes: Number(bytes),
  });
};

const logRequestLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\xff]+)(?: HTTP\/(\d(?:\.\d)?))?$/;

function toRequest(
  line: string,
  capturedAtMs: number | undefined,
  src: string,
  primary: { readonly status?: number; readonly timeMs?: number; readonly bytes?: number },
): Parsed {
  if (capturedAtMs === undefined) return "the time is invalid or before 1970";
  const match = logRequestLine.exec(line);
  if (!match) return "the client sent no valid request";
  const [, method, target, number = "0.9"] = match;
  const version = number.includes(".") ? number : `${number}.0`;
  const body = new Uint8Array();
  const path = toOriginForm(target);
  return { id: "", capturedAtMs, method, path, version, src, headers: [], body, bodyState: "omitted", primary };
}

function byteOf(hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}
