import { isUtf8 } from "node:buffer";
import type { CapturedRequest } from "../pack/captured-request.ts";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { isBodyIncomplete } from "../replay/outbound.ts";
import { credentialsNote, type ExportOptions, toExported } from "./exported.ts";
import { findTextFlaw } from "./http-text.ts";
import { findObstacle } from "./repeatable.ts";
import { toUnicode } from "./text-bytes.ts";

interface K6Request {
  /** Time since the first request. */
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The body if it is not UTF-8. */
  readonly base64?: string;
}

/**
 * Writes a k6 script: one virtual user sends the requests in order to `TARGET`. It keeps their gaps divided by `SPEED`
 * (1 if not given), or sends without gaps if `SPEED` is 0. k6 sends a header name only once: repeats are joined (RFC
 * 9110 5.3).
 */
export async function* writeK6(
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  yield Buffer.from(preamble(options));
  let firstMs: number | undefined;
  for await (const captured of requests) {
    firstMs ??= captured.capturedAtMs;
    const request = toK6(toExported(captured, options), firstMs);
    if (typeof request === "string") options.onSkipped?.(captured, request);
    else yield Buffer.from(`  ${toSource(request)},\n`);
  }
  yield Buffer.from(`];\n${main}`);
}

function preamble(options: ExportOptions): string {
  const origin = options.target?.origin ?? "http://localhost:8080";
  return `// Written by spoa-relay. Run it with: k6 run -e TARGET=${origin} -e SPEED=1 requests.js (SPEED=0: as fast as possible)
// ${credentialsNote(options)}
import encoding from "k6/encoding";
import http from "k6/http";
import { sleep } from "k6";

const target = (__ENV.TARGET || ${JSON.stringify(origin)}).replace(/\\/$/, "");
const speed = Number(__ENV.SPEED || 1);

export const options = { vus: 1, iterations: 1, discardResponseBodies: true };

const requests = [
`;
}

const main = `
export default function () {
  const startMs = Date.now();
  for (const { atMs, method, path, headers, body, base64 } of requests) {
    const waitMs = speed > 0 ? startMs + atMs / speed - Date.now() : 0;
    if (waitMs > 0) sleep(waitMs / 1000);
    const content = base64 === undefined ? (body ?? null) : encoding.b64decode(base64);
    const tags = { name: \`\${method} \${path.split("?")[0]}\` };
    http.request(method, target + path, content, { headers, redirects: 0, tags });
  }
}
`;

function toK6(request: CapturedRequest, firstMs: number): K6Request | string {
  const { method, body } = request;
  const obstacle = findObstacle(request);
  if (obstacle !== undefined) return obstacle;
  if (isBodyIncomplete(request)) return "its body is incomplete";
  const path = toUnicode(request.path);
  // k6 parses the path as a URL: it would reject a stray % and cut the path at #.
  if (path === undefined || /%(?![0-9A-Fa-f]{2})|#/.test(path)) {
    return "the path is not valid in a URL";
  }
  const headers = joinHeaders(request.headers);
  const flaw = findTextFlaw(request);
  if (flaw !== undefined || typeof headers === "string") return flaw ?? String(headers);
  return {
    atMs: Math.max(0, request.capturedAtMs - firstMs),
    method,
    path,
    headers,
    ...(body.length > 0 && (isUtf8(body) ? { body: Buffer.from(body).toString() } : toBase64(body))),
  };
}

function joinHeaders(headers: readonly string[]): Readonly<Record<string, string>> | string {
  // Repeats keep the case of the first name; Go sends its own case anyway.
  const joined = new Map<string, [name: string, value: string]>();
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const lowerCase = headers[i].toLowerCase();
    if (isReservedHeader(lowerCase) && lowerCase !== "host") continue;
    // In an object literal this key would set the prototype.
    if (lowerCase === "__proto__") return "a header is named __proto__";
    const value = toUnicode(headers[i + 1]);
    if (value === undefined) return "a header value is not UTF-8, and k6 can send only UTF-8";
    const before = joined.get(lowerCase);
    if (before) before[1] += `${lowerCase === "cookie" ? "; " : ", "}${value}`;
    else joined.set(lowerCase, [headers[i], value]);
  }
  return Object.fromEntries(joined.values());
}

/** Writes JSON as JavaScript: older engines do not accept these two line breaks in a string. */
function toSource(request: K6Request): string {
  return JSON.stringify(request).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

function toBase64(body: Uint8Array): Pick<K6Request, "base64"> {
  return { base64: Buffer.from(body).toString("base64") };
}
