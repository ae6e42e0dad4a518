import type { ByteStream } from "./byte-stream.ts";
import { type Parsed, type ReadItem, toOriginForm } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { splitRecords } from "./record-splitter.ts";

/** Reads a line (one character a byte), or tells what is wrong with it. */
export type LogLineParser = (line: string, timeZone: string) => Parsed;

/** What the requests of a log lack. */
export const haproxyNote =
  "a log has only methods and paths: requests are imported without headers, and their bodies are marked omitted";
export const nginxNote = `${haproxyNote}; times are those of the responses, to the second`;

/** Longer lines are none of a log: their requests would be longer than what servers take. */
const maxLineBytes = 256 * 1024;
const lineFeed = Buffer.from("\n");

/** The requests of a log, line by line. */
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

// Bounded, so that no line takes time that grows with its square. A syslog daemon may have put its own fields in front.
const nginxLine =
  /(?:^|: )([^ "]{1,256}) [^ ]{1,256} [^["]{0,256}\[([^\]]{1,40})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d{1,15}|-)(?: |$)/;
const haproxyLine =
  /(?:^|[ ])([^ ]{1,256}):\d{1,10} \[([^\]]{1,40})\] [^ ]{1,256} [^ ]{1,512} (?:-?\d{1,10}\/){4}\+?(-?\d{1,10}) (-?\d{1,3}) \+?(\d{1,15}) /;

/** nginx `combined` and `main`, Apache `common` and `combined`: their first fields are the same. */
export const parseNginxLine: LogLineParser = (line, timeZone) => {
  const match = nginxLine.exec(line);
  if (!match) return "the line is not in nginx's combined format";
  const [, src, time, request, status, bytes] = match;
  // nginx and Apache write control characters, quotes and backslashes so (ngx_http_log_module: escape=default).
  const text = request.replace(/\\(?:x([0-9A-Fa-f]{2})|(.))/g, (_all, hex?: string, char?: string) =>
    hex === undefined ? (char ?? "") : byteOf(hex),
  );
  return toRequest(text, parseLogTime(time, timeZone), src, {
    status: Number(status),
    ...(bytes !== "-" && { bytes: Number(bytes) }),
  });
};

/** HAProxy's `option httplog` and `option httpslog`, with headers captured or without (configuration.txt 8.2.3). */
export const parseHaproxyLine: LogLineParser = (line, timeZone) => {
  const match = haproxyLine.exec(line);
  if (!match) return "the line is not in HAProxy's HTTP log format";
  const [, src, time, activeMs, status, bytes] = match;
  // Quotes stand nowhere else: configuration.txt 8.6. syslog-ng puts a backslash before them.
  const [, request, ...rest] = line.slice(match.index + match[0].length).split(/\\?"/);
  if (request === undefined) return "the line has no request";
  // A syslog daemon has cut the line: the path would be another one.
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
