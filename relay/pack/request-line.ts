import { isUtf8 } from "node:buffer";
import { isSecret, printable } from "../control/shown-request.ts";
import type { CapturedRequest } from "./captured-request.ts";

export interface LineOptions {
  /** Shows the values of headers that by their name hold credentials. */
  readonly secrets: boolean;
}

/**
 * A request as one line of JSON, complete. Headers are pairs in their order. One character stands for one byte in all texts
 * but `body`, which is UTF-8; a body that is not stands in `bodyBase64`.
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
  // JSON leaves these as they are, and a terminal obeys them.
  return json.replace(/[\x7f-\x9f]/g, (control) => `\\u00${control.charCodeAt(0).toString(16)}`);
}

/** A request as HTTP text for people, complete but for control characters. */
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
