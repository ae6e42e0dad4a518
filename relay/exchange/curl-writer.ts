import { type CapturedRequest, headerOf } from "../pack/captured-request.ts";
import { isReservedHeader } from "../pack/reserved-headers.ts";
import { isBodyIncomplete } from "../replay/outbound.ts";
import { credentialsNote, type ExportOptions, toExported } from "./exported.ts";
import { findTextFlaw } from "./http-text.ts";
import { findObstacle } from "./repeatable.ts";

// Headers that curl would add by itself.
const curlHeaders = ["host", "user-agent", "accept"];

/**
 * Writes a POSIX shell script that sends the requests one after the other with curl (7.55 or later) and prints the
 * status of each. The script sends to its first argument, or to `target` if it has none. It leaves out the headers of
 * the connection (see `isReservedHeader`). curl sends the Host header first and in its own spelling.
 */
export async function* writeCurl(
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  yield Buffer.from(preamble(options));
  for await (const captured of requests) {
    const request = toExported(captured, options);
    const flaw = findFlaw(request);
    if (flaw === undefined) yield formatCommand(request);
    else options.onSkipped?.(captured, flaw);
  }
}

function preamble(options: ExportOptions): string {
  const { target } = options;
  const usage = 'if [ $# -ne 1 ]; then echo "usage: $0 http://HOST[:PORT]" >&2; exit 2; fi';
  return [
    "#!/bin/sh",
    "# Written by spoa-relay. Run it with the address of a server: sh requests.sh http://localhost:8080",
    `# ${credentialsNote(options)}`,
    target ? `[ $# -gt 0 ] || set -- ${quote(target.origin)}` : usage,
    "target=$1",
    "send() {",
    "  curl --disable --silent --show-error --http1.1 --globoff --path-as-is --output /dev/null \\",
    `    --write-out '%{http_code} %{time_total}s\\n' "$@" "$target"`,
    "}",
    "",
    "",
  ].join("\n");
}

function findFlaw(request: CapturedRequest): string | undefined {
  const obstacle = findObstacle(request);
  if (obstacle !== undefined) return obstacle;
  if (isBodyIncomplete(request)) return "its body is incomplete";
  if (request.method === "HEAD" && request.body.length > 0) return "curl cannot send a body with HEAD";
  return findTextFlaw(request);
}

function formatCommand({ id, capturedAtMs, method, path, headers, body }: CapturedRequest): Buffer {
  const words = ["send", ...(method === "HEAD" ? ["--head"] : ["--request", quote(method)])];
  words.push("--request-target", quote(path));
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const [name, value] = [headers[i], headers[i + 1]];
    const lowerCase = name.toLowerCase();
    if (isReservedHeader(lowerCase) && lowerCase !== "host") continue;
    // A semicolon instead of the colon is curl's way to send an empty header.
    words.push("--header", quote(value === "" ? `${name};` : `${name}: ${value}`));
  }
  for (const name of curlHeaders) if (headerOf(headers, name) === undefined) words.push("--header", `'${name}:'`);
  // An empty body is also sent if the request had a Content-Length: then it is 0.
  const sendsBody = body.length > 0 || (headerOf(headers, "content-length") !== undefined && method !== "HEAD");
  if (sendsBody) {
    words.push("--data-binary", "@-", "--header", "'expect:'");
    if (headerOf(headers, "content-type") === undefined) words.push("--header", "'content-type:'");
  }
  const moment = new Date(capturedAtMs).toISOString();
  const comment = `# ${id.replace(/[^\x20-\x7e]/g, "?")} captured ${moment}`;
  return Buffer.from(`${comment}\n${sendsBody ? formatBody(body) : ""}${words.join(" ")}\n\n`, "latin1");
}

/**
 * Pipes the body into curl: as text if it is printable ASCII, else as base64, because a shell word cannot hold a zero
 * byte.
 */
function formatBody(body: Uint8Array): string {
  const text = Buffer.from(body).toString("latin1");
  if (/^[\t\n\x20-\x7e]*$/.test(text)) return `printf %s ${quote(text)} | `;
  return `printf %s ${Buffer.from(body).toString("base64")} | base64 -d | `;
}

/** Quotes any text as one shell word. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
