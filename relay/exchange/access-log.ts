import type { ByteStream } from "./byte-stream.ts";
import { type Parsed, type ReadItem, toOriginForm, toReadItem } from "./imported.ts";
import { parseLogTime } from "./log-time.ts";
import { byteOrderMark, splitRecords } from "./record-splitter.ts";
import { findObstacle, upgradeReason } from "./repeatable.ts";

/** Parses a line (one character per byte) into a request, or returns the reason why it is not one. */
export type LogLineParser = (line: string, timeZone: string) => Parsed;

/** Printed before an import: what requests from a log lack. */
export const haproxyNote =
  "a log has only methods and paths: requests are imported without headers, and their bodies are marked omitted";
export const nginxNote = `${haproxyNote}; times are those of the responses, to the second`;

/** No server accepts a request line this long, so a longer line cannot be a log line. */
const maxLineBytes = 256 * 1024;
const lineEnd = { mark: Buffer.from("\n"), needsLineEnd: false };
// Neither a damaged line nor a request: it does not decide the format of a file.
const noLogLine = { reason: "a line of another log, or an event", host: "" };
const noRequest = { reason: "the client sent no valid request", host: "" };

/** Reads the requests of a log line by line. */
export async function* readAccessLog(
  stream: ByteStream,
  name: string,
  parse: LogLineParser,
  timeZone: string,
): AsyncGenerator<ReadItem> {
  for await (const { bytes, number } of splitRecords(stream, lineEnd, maxLineBytes)) {
    const text = bytes?.toString("latin1").replace(/\r$/, "");
    const line = number === 1 ? text?.replace(byteOrderMark, "") : text;
    if (line === "") continue;
    const parsed = line === undefined ? "the line is longer than 256 KiB" : parse(line, timeZone);
    yield toReadItem(parsed, () => `${name}:${number}`);
  }
}

/** Whether the line describes a request, valid or not, in the parser's format. */
export function isLogLine(parse: LogLineParser, line: string): boolean {
  const parsed = parse(line, "UTC");
  return typeof parsed !== "string" && parsed !== noLogLine;
}

// The quantifiers are bounded: otherwise a hostile line could take quadratic time. A syslog daemon may put its own
// fields in front.
const nginxLine =
  /(?:^|: )([^ "]{1,256}) [^ ]{1,256} [^["]{0,256}\[([^\]]{1,40})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d{1,15}|-)(?: |$)/;
const haproxyLine =
  /(?:^|[ ])([^ ]{1,256}):\d{1,10} \[([^\]]{1,40})\] [^ ]{1,256} [^ ]{1,512} (?:-?\d{1,10}\/){4}\+?(-?\d{1,10}) (-?\d{1,3}) \+?(\d{1,15}) /;

// nginx's error log, and what HAProxy logs beside requests: proxies and servers that start and stop, TCP connections, and
// connections that failed before a request (configuration.txt 8.2.1 and 8.2.6).
const nginxError = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d \[[a-z]{1,10}\] /;
const haproxyEvent =
  /(?:^|[ ])(?:Proxy [^ ]{1,256} (?:started|stopped)|(?:Backup )?Server [^ ]{1,512} (?:is|was) |Health check for |Connect from |\[(?:NOTICE|WARNING|ALERT)\] |(?:backend|proxy) [^ ]{1,256} has no server available)/;
const haproxyConnection =
  /(?:^|[ ])[^ ]{1,256}:\d{1,10} \[[^\]]{1,40}\] [^ ]{1,256}(?:: | [^ ]{1,512} (?:-?\d{1,10}\/){2}\+?-?\d{1,10} \+?\d{1,15} [^ ]{2} )/;

/** Parses nginx `combined` and `main` and Apache `common` and `combined`: their first fields are the same. */
export const parseNginxLine: LogLineParser = (line, timeZone) => {
  const match = nginxLine.exec(line);
  if (!match) return nginxError.test(line) ? noLogLine : "the line is not in nginx's combined format";
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
  if (!match) {
    const other = haproxyConnection.test(line) || haproxyEvent.test(line.slice(0, 1_000));
    return other ? noLogLine : "the line is not in HAProxy's HTTP log format";
  }
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
  const match = logRequestLine.exec(line);
  // Such as - or <BADREQ>, bytes of a TLS handshake, or the preface of HTTP/2.
  if (!match || match[1] === "PRI") return noRequest;
  const [, method, target, number = "0.9"] = match;
  const host = /^[a-z]+:\/\/(?:[^/?#@]*@)?([^/?#]*)/i.exec(target)?.[1] ?? "";
  const obstacle = findObstacle({ method, path: toOriginForm(target), headers: [] });
  if (obstacle !== undefined) return { reason: obstacle, host };
  if (primary.status === 101) return { reason: upgradeReason, host };
  if (capturedAtMs === undefined) return "the time is invalid or before 1970";
  const version = number.includes(".") ? number : `${number}.0`;
  const body = new Uint8Array();
  const path = toOriginForm(target);
  return { id: "", capturedAtMs, method, path, version, src, headers: [], body, bodyState: "omitted", primary };
}

function byteOf(hex: string): string {
  return String.fromCharCode(Number.parseInt(hex, 16));
}
