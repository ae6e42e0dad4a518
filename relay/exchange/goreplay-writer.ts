import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import { isBodyIncomplete } from "../replay/outbound.ts";
import { type ExportOptions, toExported } from "./exported.ts";
import { goreplaySeparator } from "./goreplay-reader.ts";
import { findTextFlaw, formatHttpText, isChunked } from "./http-text.ts";

/**
 * A GoReplay file: a record a request, and one for the primary's answer, without its body, where its status is known.
 * HTTP/2 is written as HTTP/1.1, the only one that GoReplay takes.
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
  // Else the client that sent the body would write records of its own.
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

/** A space or a line break would end the id. */
function idOf({ id }: CapturedRequest): string {
  const escaped = id.replace(/[^\x21-\x7e]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return escaped.slice(0, 256) || "-";
}
