import { type CapturedRequest, headerOf } from "../../pack/captured-request.ts";
import { isBodyIncomplete } from "../../replay/outbound.ts";
import { type ExportOptions, toExported } from "../exported.ts";
import { findTextFlaw, formatHttpText, isChunked } from "../http-text.ts";
import { goreplayMark } from "./record-parser.ts";

const goreplaySeparator = Buffer.concat([goreplayMark, Buffer.from("\n")]);

/**
 * Writes a GoReplay file: one record per request, and one for the primary's response, without its body, if its status
 * is known. HTTP/2 is written as HTTP/1.1, the only version that GoReplay reads.
 */
export async function* writeGoreplay(
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  for await (const captured of requests) {
    const request = toExported(captured, options);
    const record = formatRecord(request);
    if (typeof record === "string") options.onSkipped?.(captured, record);
    else yield Buffer.concat([record, formatResponse(request)]);
  }
}

function formatRecord(request: CapturedRequest): Buffer | string {
  const flaw = findTextFlaw(request);
  if (flaw !== undefined) return flaw;
  const { headers } = request;
  const chunked = isChunked(headers);
  if (!chunked && headerOf(headers, "transfer-encoding") !== undefined) return "its Transfer-Encoding is not chunked";
  if (!chunked && headerOf(headers, "content-length") === undefined && isBodyIncomplete(request)) {
    return "its body is incomplete, and the record has no Content-Length that would show it";
  }
  const head = Buffer.from(`1 ${idOf(request)} ${request.capturedAtMs}000000 0\n`, "latin1");
  const record = Buffer.concat([head, formatHttpText(request), goreplaySeparator]);
  // A client could otherwise add records of its own through a request body.
  if (record.indexOf(goreplaySeparator) < record.length - goreplaySeparator.length) {
    return "it contains the line that separates GoReplay records";
  }
  return record;
}

function formatResponse(request: CapturedRequest): Buffer {
  const { status, timeMs = 0, headers = [] } = request.primary ?? {};
  if (status === undefined || status < 100 || status > 999) return Buffer.alloc(0);
  if (findTextFlaw({ ...request, headers }) !== undefined) return Buffer.alloc(0);
  const lines = [`2 ${idOf(request)} ${request.capturedAtMs + timeMs}000000 ${timeMs}000000\nHTTP/1.1 ${status} `];
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  const text = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return text.includes(goreplaySeparator) ? Buffer.alloc(0) : Buffer.concat([text, goreplaySeparator]);
}

/** Percent-encodes spaces and line breaks: they would end the id. */
function idOf({ id }: CapturedRequest): string {
  const escaped = id.replace(/[^\x21-\x7e]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return escaped.slice(0, 256) || "-";
}
