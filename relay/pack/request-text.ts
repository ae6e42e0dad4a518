import { maskRequest } from "../redaction/shown-request.ts";
import type { CapturedRequest } from "./captured-request.ts";

/** A captured request for a person to look at: secrets left out, the body cut after 2,000 bytes. */
export interface ShownRequest {
  readonly id: string;
  readonly capturedAt: string;
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
  readonly bodyState: "complete" | "truncated" | "omitted";
  readonly bodyBytes: number;
  /** As UTF-8. */
  readonly body: string;
  /** Why the body is not shown; absent if it is. */
  readonly hiddenBody?: string;
}

/** In place of a secret: a terminal is recorded, shared and scrolled back. */
export const secretMark = "…";
const shownBodyBytes = 2_000;
// A secret without its end may not look like one.
const unsureBytes = 200;

/** A request without what looks like a secret, the body cut after 2,000 bytes. */
export function showRequest(request: CapturedRequest): ShownRequest {
  // Masking may shorten the text. More than twice of what is shown would only take time.
  const { path, headers, body, hiddenBody } = maskRequest(
    { ...request, body: request.body.subarray(0, 2 * shownBodyBytes) },
    secretMark,
  );
  const { id, method, version, bodyState } = request;
  const isCut = request.body.length > 2 * shownBodyBytes;
  const sureBytes = isCut ? Math.max(0, body.length - unsureBytes) : body.length;
  return {
    id,
    capturedAt: new Date(request.capturedAtMs).toISOString(),
    method,
    path,
    version: version || "1.1",
    headers: headers.flatMap((name, i) => (i % 2 === 0 ? [{ name, value: headers[i + 1] }] : [])),
    bodyState,
    bodyBytes: request.body.length,
    body: Buffer.from(body.subarray(0, Math.min(shownBodyBytes, sureBytes))).toString(),
    ...(hiddenBody !== undefined && { hiddenBody }),
  };
}

/** A request as text, secrets left out and the body cut after 2,000 bytes. */
export function formatRequest(request: CapturedRequest): string {
  return formatShown(showRequest(request));
}

/** A shown request as text. */
export function formatShown(request: ShownRequest): string {
  const { id, capturedAt, method, path, version, headers, bodyState, bodyBytes, body, hiddenBody } = request;
  const lines = headers.map(({ name, value }) => `${name}: ${value}`);
  const head = [`# ${id} captured ${capturedAt}`, `${method} ${path} HTTP/${version}`, ...lines].map(printable);
  const state = bodyState === "complete" ? "" : `(body ${bodyState})\n`;
  if (hiddenBody !== undefined) return `${head.join("\n")}\n\n${state}${formatHidden(bodyBytes, hiddenBody)}`;
  const more = bodyBytes > shownBodyBytes ? ` … ${bodyBytes} bytes in all` : "";
  return `${head.join("\n")}\n\n${state}${body.split("\n").map(printable).join("\n")}${more}`;
}

/** The line in place of a body that is not shown. */
export function formatHidden(bytes: number, reason: string): string {
  return `(body of ${bytes} bytes not shown: ${reason})`;
}

/** Escapes control characters: captured bytes could otherwise control the reader's terminal. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
