import { parseHaproxyLine, parseNginxLine } from "./access-log.ts";
import { goreplayHeader, goreplaySeparator } from "./goreplay-reader.ts";
import type { ImportFormat } from "./imported.ts";

/** How much of a file's beginning is enough to tell its format. */
export const detectionBytes = 64 * 1024;

/** The format of a file by its first bytes; undefined where it looks like none of them. */
export function detectFormat(head: Buffer): ImportFormat | undefined {
  const text = head.toString("latin1");
  // A byte order mark is allowed before JSON.
  if (/^(?:\xef\xbb\xbf)?[ \t\r\n]*\{/.test(text)) return "har";
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  if (goreplayHeader.test(lines[0]) || head.includes(goreplaySeparator)) return "goreplay";
  for (const line of lines) {
    if (typeof parseHaproxyLine(line, "UTC") !== "string") return "haproxy";
    if (typeof parseNginxLine(line, "UTC") !== "string") return "nginx";
  }
  return undefined;
}
