import type { CapturedRequest } from "./captured-request.ts";

/** A captured request for a person to look at: credentials left out, the body cut after 2,000 bytes. */
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
}

// Credentials are not shown: a terminal is recorded, shared and scrolled back.
const secretName = /authorization|cookie|token|secret|password|api-?key|session|signature/i;
const shownBodyBytes = 2_000;

/** A request without its credentials, the body cut after 2,000 bytes. */
export function showRequest(request: CapturedRequest): ShownRequest {
  const headers: { name: string; value: string }[] = [];
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const [name, value] = [request.headers[i], request.headers[i + 1]];
    headers.push({ name, value: isSecret(name) ? "…" : value });
  }
  const { id, method, path, version, bodyState } = request;
  return {
    id,
    capturedAt: new Date(request.capturedAtMs).toISOString(),
    method,
    path,
    version: version || "1.1",
    headers,
    bodyState,
    bodyBytes: request.body.length,
    body: Buffer.from(request.body.subarray(0, shownBodyBytes)).toString(),
  };
}

/** A request as text, credentials left out and the body cut after 2,000 bytes. */
export function formatRequest(request: CapturedRequest): string {
  return formatShown(showRequest(request));
}

/** A shown request as text. */
export function formatShown(request: ShownRequest): string {
  const { id, capturedAt, method, path, version, headers, bodyState, bodyBytes, body } = request;
  const lines = headers.map(({ name, value }) => `${name}: ${value}`);
  const head = [`# ${id} captured ${capturedAt}`, `${method} ${path} HTTP/${version}`, ...lines].map(printable);
  const state = bodyState === "complete" ? "" : `(body ${bodyState})\n`;
  const more = bodyBytes > shownBodyBytes ? ` … ${bodyBytes} bytes in all` : "";
  return `${head.join("\n")}\n\n${state}${body.split("\n").map(printable).join("\n")}${more}`;
}

/** Whether the name of a header, or of an argument of a SPOE message, suggests a credential. */
export function isSecret(name: string): boolean {
  return secretName.test(name);
}

/** Escapes control characters: captured bytes could otherwise control the reader's terminal. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
