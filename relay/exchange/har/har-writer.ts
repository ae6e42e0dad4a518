import { type CapturedRequest, headerOf, type PrimaryOutcome } from "../../pack/captured-request.ts";
import { credentialsNote, type ExportOptions, toExported } from "../exported.ts";
import { toOriginForm } from "../imported.ts";
import { findObstacle } from "../repeatable.ts";
import { toPostData } from "./har-body.ts";
import { readVersion } from "./har-fields.ts";
import { harExtension } from "./har-reader.ts";

// Every byte that a URI cannot contain (RFC 3986) is percent-encoded.
const noUriByte = /[^!#$%&'()*+,\-./0-9:;=?@A-Z[\]_a-z~]|%(?![0-9A-Fa-f]{2})|#/g;

/**
 * Writes a HAR 1.2 file, one entry per line. A header byte beyond ASCII is written as the character with its number.
 * Our own field `harExtension` keeps the data that HAR has no field for (id, client address, body state, a path that is
 * not a URI, and which parts of the primary's outcome are known), so an import restores everything.
 */
export async function* writeHar(
  requests: AsyncIterable<CapturedRequest>,
  options: ExportOptions = {},
): AsyncGenerator<Buffer> {
  const creator = { name: "spoa-relay", version: "1" };
  const log = JSON.stringify({ version: "1.2", creator, comment: credentialsNote(options) });
  yield Buffer.from(`{"log":${log.slice(0, -1)},"entries":[`);
  let separator = "\n";
  for await (const captured of requests) {
    const obstacle = findObstacle(captured);
    if (obstacle !== undefined) {
      options.onSkipped?.(captured, obstacle);
      continue;
    }
    yield Buffer.from(`${separator}${JSON.stringify(toEntry(toExported(captured, options), options))}`);
    separator = ",\n";
  }
  yield Buffer.from("\n]}}\n");
}

function toEntry(request: CapturedRequest, options: ExportOptions): object {
  const { capturedAtMs, method, path, version, headers, body, id, src, bodyState, primary } = request;
  const url = toUrl(request, options);
  const postData = toPostData(request);
  const timeMs = primary?.timeMs ?? 0;
  const httpVersion = version === "" ? "unknown" : `HTTP/${version}`;
  const answerHeaders = primary?.headers ?? [];
  return {
    startedDateTime: new Date(capturedAtMs).toISOString(),
    time: timeMs,
    request: {
      method,
      url,
      httpVersion,
      cookies: toCookies(headers),
      headers: toPairs(headers),
      queryString: [...new URL(url).searchParams].map(([name, value]) => ({ name, value })),
      ...(postData && { postData }),
      headersSize: -1,
      bodySize: body.length,
    },
    response: {
      status: primary?.status ?? 0,
      statusText: "",
      httpVersion: "unknown",
      cookies: [],
      headers: toPairs(answerHeaders),
      content: { size: 0, mimeType: headerOf(answerHeaders, "content-type") ?? "x-unknown" },
      redirectURL: headerOf(answerHeaders, "location") ?? "",
      headersSize: -1,
      bodySize: primary?.bytes ?? -1,
    },
    cache: {},
    timings: { send: 0, wait: timeMs, receive: 0 },
    [harExtension]: {
      id,
      src,
      bodyState,
      ...(toOriginForm(url) !== path && { path }),
      ...(readVersion(httpVersion) !== version && { version }),
      ...(primary && { primary: toKnown(primary) }),
    },
  };
}

/** The parts of the outcome that are known: HAR requires values for the others, too. */
function toKnown({ status, timeMs, bytes, digest, headers }: PrimaryOutcome): object {
  return { status, timeMs, bytes, digest, headers: headers && true };
}

/** HAR requires an absolute URI. The scheme comes from X-Forwarded-Proto if there is no target. */
function toUrl({ path, headers }: CapturedRequest, { target }: ExportOptions): string {
  const host = target?.host ?? headerOf(headers, "host") ?? "";
  const secure = target ? target.protocol === "https:" : headerOf(headers, "x-forwarded-proto") === "https";
  const scheme = secure ? "https" : "http";
  const origin = `${scheme}://${/^(?:[\w.-]+|\[[\d:a-f]+\])(?::\d+)?$/i.test(host) ? host : "unknown.invalid"}`;
  const url = origin + (path.startsWith("/") ? "" : "/") + path.replace(noUriByte, percentEncode);
  return URL.canParse(url) ? url : `http://unknown.invalid${url.slice(origin.length)}`;
}

function percentEncode(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

function toPairs(headers: readonly string[]): readonly { readonly name: string; readonly value: string }[] {
  const pairs = [];
  for (let i = 0; i + 1 < headers.length; i += 2) pairs.push({ name: headers[i], value: headers[i + 1] });
  return pairs;
}

function toCookies(headers: readonly string[]): readonly { readonly name: string; readonly value: string }[] {
  return toPairs(headers)
    .filter(({ name, value }) => name.toLowerCase() === "cookie" && value.includes("="))
    .flatMap(({ value }) => value.split(";"))
    .map((pair) => {
      const [name, ...rest] = pair.trim().split("=");
      return { name, value: rest.join("=") };
    });
}
