import type { CapturedRequest } from "./captured-request.ts";

// Credentials are not shown: a terminal is recorded, shared and scrolled back.
const secretHeaders: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  "proxy-authorization",
  "set-cookie",
  "x-api-key",
]);
const shownBodyBytes = 2_000;

/** A request as text, credentials left out and the body cut after 2,000 bytes. */
export function formatRequest(request: CapturedRequest): string {
  const lines = [`${request.method} ${request.path} HTTP/${request.version || "1.1"}`];
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const [name, value] = [request.headers[i], request.headers[i + 1]];
    lines.push(`${name}: ${isSecret(name) ? "…" : value}`);
  }
  const body = Buffer.from(request.body.subarray(0, shownBodyBytes)).toString();
  const more = request.body.length > shownBodyBytes ? ` … ${request.body.length} bytes in all` : "";
  const state = request.bodyState === "complete" ? "" : `(body ${request.bodyState})\n`;
  const head = [`# ${request.id} captured ${new Date(request.capturedAtMs).toISOString()}`, ...lines].map(printable);
  return `${head.join("\n")}\n\n${state}${body.split("\n").map(printable).join("\n")}${more}`;
}

/** Whether a header, or an argument of a SPOE message, by its name holds a credential. */
export function isSecret(name: string): boolean {
  return secretHeaders.has(name.toLowerCase());
}

/** Captured bytes must not steer the terminal of whoever looks at them. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
