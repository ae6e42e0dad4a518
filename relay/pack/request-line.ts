import { isUtf8 } from "node:buffer";
import { type MaskedRequest, maskRequest } from "../redaction/shown-request.ts";
import type { CapturedRequest } from "./captured-request.ts";
import { formatHidden, printable, secretMark } from "./request-text.ts";

export interface LineOptions {
  /** Shows what looks like a secret. */
  readonly secrets: boolean;
}

/**
 * Formats a complete request as one line of JSON. Headers are pairs, in order. Texts have one character per byte,
 * except `body`, which is UTF-8. A body that is not UTF-8 is in `bodyBase64` instead; one whose secrets cannot be found is left out,
 * and `hiddenBody` says why.
 */
export function toJsonLine(captured: CapturedRequest, options: LineOptions): string {
  const request = toShown(captured, options);
  const { id, capturedAtMs, method, path, version, src, headers, body, bodyState, primary, hiddenBody } = request;
  const json = JSON.stringify({
    id,
    capturedAt: new Date(capturedAtMs).toISOString(),
    method,
    path,
    version,
    src,
    headers: toPairs(headers),
    bodyState,
    ...(hiddenBody === undefined ? toBody(body) : { hiddenBody }),
    ...(primary && { primary: { ...primary, ...(primary.headers && { headers: toPairs(primary.headers) }) } }),
  });
  // JSON does not escape these control characters, and terminals would obey them.
  return json.replace(/[\x7f-\x9f]/g, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

/** Formats a complete request as HTTP text for people, with control characters escaped. */
export function toHttpText(captured: CapturedRequest, options: LineOptions): string {
  const { id, capturedAtMs, method, path, version, headers, body, bodyState, hiddenBody } = toShown(captured, options);
  const head = [
    `# ${id} captured ${new Date(capturedAtMs).toISOString()}${bodyState === "complete" ? "" : `, body ${bodyState}`}`,
    `${method} ${path} HTTP/${version || "1.1"}`,
    ...toPairs(headers).map(([name, value]) => `${name}: ${value}`),
  ].map(printable);
  if (hiddenBody !== undefined) return `${head.join("\n")}\n\n${formatHidden(captured.body.length, hiddenBody)}\n`;
  const text = Buffer.from(body).toString().split("\n").map(printable).join("\n");
  return `${head.join("\n")}\n\n${text === "" ? "" : `${text}\n`}`;
}

function toShown(request: CapturedRequest, { secrets }: LineOptions): MaskedRequest {
  return secrets ? request : maskRequest(request, secretMark);
}

function toBody(body: Uint8Array): { readonly body: string } | { readonly bodyBase64: string } {
  const bytes = Buffer.from(body);
  return isUtf8(body) ? { body: bytes.toString() } : { bodyBase64: bytes.toString("base64") };
}

function toPairs(headers: readonly string[]): readonly (readonly [string, string])[] {
  return headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]] as const] : []));
}
