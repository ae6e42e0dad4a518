import { type CapturedRequest, headerOf } from "../../pack/captured-request.ts";
import { isBodyIncomplete } from "../../replay/outbound.ts";
import { type ExportOptions, toExported } from "../exported.ts";
import { findTextFlaw, formatHeaderLines, formatHttpText, isChunked, isInterim } from "../http-text.ts";
import { toOriginForm } from "../imported.ts";
import { findObstacle } from "../repeatable.ts";
import { goreplayMark, unseparated } from "./record-parser.ts";

const goreplaySeparator = Buffer.concat([goreplayMark, Buffer.from("\n")]);

/**
 * Writes a GoReplay file: one record per request, and one for the primary's response, without its body, if its status
 * is known. HTTP/2 is written as HTTP/1.1, the only version that GoReplay reads. An import of the file and another export
 * make the same file.
 */
export async function* writeGoreplay(
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  for await (const captured of requests) {
    const request = toExported(captured, options);
    const record = formatRecord(request);
    if (typeof record === "string") {
      options.onSkipped?.(captured, record);
      continue;
    }
    const answer = formatAnswer(request);
    yield Buffer.concat([record, answer ?? Buffer.alloc(0)]);
    if (options.onLost) for (const part of findLosses(request, answer !== undefined)) options.onLost(part);
  }
}

function formatRecord(request: CapturedRequest): Buffer | string {
  const flaw =
    findObstacle({ ...request, path: toOriginForm(request.path) }) ?? findTextFlaw(request) ?? findBodyFlaw(request);
  if (flaw !== undefined) return flaw;
  const head = Buffer.from(`1 ${idOf(request)} ${request.capturedAtMs}000000 0\n`, "latin1");
  const record = Buffer.concat([head, formatHttpText(request), goreplaySeparator]);
  // A client could otherwise add records of its own through a request body.
  if (record.indexOf(goreplayMark) < record.length - goreplaySeparator.length) {
    return "it contains the line that separates GoReplay records";
  }
  if (isBodyIncomplete(request) && unseparated.test(record.toString("latin1"))) {
    return "its body is incomplete, and contains the first line of a GoReplay record";
  }
  return record;
}

/** The record has no field that says that a body is incomplete: its length or its last chunk has to show it. */
function findBodyFlaw(request: CapturedRequest): string | undefined {
  const { headers, body } = request;
  if (isChunked(headers)) return undefined;
  if (headerOf(headers, "transfer-encoding") !== undefined) return "its Transfer-Encoding is not chunked";
  if (!isBodyIncomplete(request)) return undefined;
  const length = headerOf(headers, "content-length") ?? "";
  if (/^\d{1,15}$/.test(length) && Number(length) > body.length) return undefined;
  return "its body is incomplete, and the record has no Content-Length that would show it";
}

/** The record of the primary's response; undefined if it has none, or one that HTTP/1 cannot express. */
function formatAnswer(request: CapturedRequest): Buffer | undefined {
  const { status, timeMs = 0, headers = [] } = request.primary ?? {};
  if (status === undefined || status < 100 || status > 999 || isInterim(status)) return undefined;
  if (findTextFlaw({ ...request, headers }) !== undefined) return undefined;
  const firstLine = `2 ${idOf(request)} ${request.capturedAtMs + timeMs}000000 ${timeMs}000000\nHTTP/1.1 ${status} `;
  const head = Buffer.from(`${[firstLine, ...formatHeaderLines(headers)].join("\r\n")}\r\n\r\n`, "latin1");
  return Buffer.concat([head, goreplaySeparator]);
}

/** Names the parts of a written request that an import would not restore. */
function findLosses(request: CapturedRequest, hasAnswer: boolean): readonly string[] {
  const { id, path, version, src, headers, body, primary } = request;
  const losses: string[] = [];
  if (src !== "") losses.push("the client's address");
  if (version !== "1.0" && version !== "1.1") losses.push("the HTTP version: 1.1 instead");
  if (idOf(request) !== id) losses.push("characters of the id");
  if (toOriginForm(path) !== path) losses.push("scheme and host of the path");
  if ([...headers, ...(primary?.headers ?? [])].some((part) => /^[ \t]|[ \t]$/.test(part))) {
    losses.push("space around header values");
  }
  if (body.length > 0 && !isChunked(headers) && headerOf(headers, "content-length") === undefined) {
    losses.push("that there was no Content-Length");
  }
  if (primary && !hasAnswer) losses.push("an answer without a status, or one that HTTP/1 cannot express");
  else if (primary?.bytes !== undefined || primary?.digest !== undefined) losses.push("size and digest of the answer");
  return losses;
}

/** Percent-encodes spaces and line breaks: they would end the id. */
function idOf({ id }: CapturedRequest): string {
  const escaped = id.replace(/[^\x21-\x7e]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return escaped.slice(0, 256) || "-";
}
