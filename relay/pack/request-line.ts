import { isUtf8 } from "node:buffer";
import type { CapturedRequest } from "./captured-request.ts";
import { isSecret, printable } from "./request-text.ts";

export interface LineOptions {
  /** Shows the values of headers whose name says that they hold credentials. */
  readonly secrets: boolean;
}

/**
 * Formats a complete request as one line of JSON. Headers are pairs, in order. Texts have one character per byte,
 * except `body`, which is UTF-8. A body that is not UTF-8 is in `bodyBase64` instead.
 */
export function toJsonLine(request: CapturedRequest, options: LineOptions): string {
  const { id, capturedAtMs, method, path, version, src, body, bodyState, primary } = request;
  const json = JSON.stringify({
    id,
    capturedAt: new Date(capturedAtMs).toISOString(),
    method,
    path,
    version,
    src,
    headers: toPairs(request.headers, options),
    bodyState,
    ...(isUtf8(body) ? { body: Buffer.from(body).toString() } : { bodyBase64: Buffer.from(body).toString("base64") }),
    ...(primary && {
      primary: { ...primary, ...(primary.headers && { headers: toPairs(primary.headers, options) }) },
    }),
  });
  // JSON does not escape these control characters, and terminals would obey them.
  return json.replace(/[\x7f-\x9f]/g, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

/** Formats a complete request as HTTP text for people, with control characters escaped. */
export function toHttpText(request: CapturedRequest, options: LineOptions): string {
  const { id, capturedAtMs, method, path, version, body, bodyState } = request;
  const head = [
    `# ${id} captured ${new Date(capturedAtMs).toISOString()}${bodyState === "complete" ? "" : `, body ${bodyState}`}`,
    `${method} ${path} HTTP/${version || "1.1"}`,
    ...toPairs(request.headers, options).map(([name, value]) => `${name}: ${value}`),
  ].map(printable);
  const text = Buffer.from(body).toString().split("\n").map(printable).join("\n");
  return `${head.join("\n")}\n\n${text === "" ? "" : `${text}\n`}`;
}

function toPairs(headers: readonly string[], { secrets }: LineOptions): readonly (readonly [string, string])[] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i];
    pairs.push([name, isSecret(name) && !secrets ? "…" : headers[i + 1]]);
  }
  return pairs;
}
