import { parseHaproxyLine, parseNginxLine, readAccessLog } from "../../relay/exchange/access-log.ts";
import type { ByteStream } from "../../relay/exchange/byte-stream.ts";
import { exportRequests } from "../../relay/exchange/export.ts";
import { exportFormats } from "../../relay/exchange/exported.ts";
import { readGoreplay } from "../../relay/exchange/goreplay/goreplay-reader.ts";
import { readHar } from "../../relay/exchange/har/har-reader.ts";
import { formatHttpText, parseAnswerHead, parseHttpText } from "../../relay/exchange/http-text.ts";
import { cookieOf } from "../../relay/pack/captured-request.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { openPack, sealPack } from "../../relay/pack/envelope.ts";
import { decodePack } from "../../relay/pack/pack.ts";
import { formatRequest } from "../../relay/pack/request-text.ts";
import { parseSummary } from "../../relay/pack/summary.ts";
import { changeBody, readMessage } from "../../relay/queue/message.ts";
import { findTextMistake, shorten } from "../../relay/queue/message-text.ts";
import { prepareOutbound } from "../../relay/replay/outbound.ts";
import { Pattern, Rewrite } from "../../relay/rules/pattern.ts";
import { whyUnreplayable } from "../../relay/rules/unreplayable.ts";
import { collect, inChunks, streamOf } from "../support/data/byte-chunks.ts";
import { expectedRequest, packContent, type RequestParts } from "../support/data/captured-requests.ts";
import { importAll } from "../support/data/imports.ts";
import { target } from "../support/data/targets.ts";
import { openSession, runChunks } from "../support/spop/session-run.ts";
import {
  bin,
  bool,
  headersBinary,
  hello,
  type Items,
  messageList,
  notify,
  plain,
  str,
} from "../support/spop/spop-frames.ts";
import { createHalf } from "./fuzz-target.ts";
import type { Reader } from "./growth.ts";

type Read = (text: Buffer) => unknown;

// A unit of a text is about so long: the lists below have one element for each piece of this length.
const pieceBytes = 16;
const maxRecordBytes = 64 * 1024 * 1024;
const pathPattern = new Pattern("^/api/(\\w+/?)*$");
const pathRewrite = new Rewrite("^(a|b| |%|/)*$");

const ofAgent: Readonly<Record<string, Read>> = {
  "SPOP bytes": (text) => runChunks(openSession(), [hello(), text]),
  "SPOP, byte by byte": (text) =>
    runChunks(openSession(), inPieces(notify({ messages: [message({ path: text })] }), 1)),
  "SPOP, many frames": (text) =>
    runChunks(openSession(), [
      hello(),
      Buffer.concat(inPieces(text).map((path) => notify({ messages: [message({ path })] }))),
    ]),
  "SPOP messages": (text) => take(text),
  "header text": (text) => take(messageList([message({ hdrs: text })])),
  "header text of many messages": (text) => take(messageList(inPieces(text).map((hdrs) => message({ hdrs })))),
  "binary headers": (text) =>
    take(messageList([message({ hdrs: Buffer.concat([...pairs(text).map(plain), Buffer.from([0, 0])]) })])),
  "redacted head": (text) =>
    take(
      messageList(
        ["cookie", "set-cookie", "referer"].map((name) => {
          const headers = headersBinary([name, latin1(text)]);
          return {
            args: [
              ["method", str("GET")],
              ["path", str(`/?${latin1(text)}`)],
              ["hdrs", bin(headers)],
            ],
          };
        }),
      ),
    ),
  "redacted body": (text) =>
    take(
      messageList(
        redactedBodies(latin1(text)).map(([type, body]) => {
          const headers = headersBinary(["content-type", type, "content-length", `${body.length}`]);
          const args: Items = [
            ["method", str("POST")],
            ["path", str("/")],
            ["hdrs", bin(headers)],
          ];
          return { args: [...args, ["body", bin(Buffer.from(body, "latin1"))], ["whole", bool(true)]] };
        }),
      ),
    ),
  arguments: (text) =>
    take(
      messageList([message({ path: text, url: text, query: text, id: text, ver: text, body: text, unknown: text })]),
    ),
};

const ofCore: Readonly<Record<string, Read>> = {
  pack: (text) => decodePack(text),
  "sealed pack": (text) => openPack(text),
  "pack of many requests": (text) =>
    decodePack(packContent({ requests: inPieces(text).map((path) => ({ path: path.toString("latin1") })) })),
  message: (text) => readMessage({ body: latin1(text), pack: sealPack(packContent()) }),
  "body of a message": (text) => [
    parseSummary(latin1(text)),
    changeBody(`{"a":${JSON.stringify(latin1(text))}}`, (summary) => summary),
    findTextMistake(latin1(text)),
    shorten(latin1(text), 1_000),
  ],
  "request to send": (text) => allRequests(text).map((request) => prepareOutbound(target(), request, 1)),
  upgrade: (text) => allRequests(text).map(whyUnreplayable),
  cookie: (text) => allRequests(text).map(({ headers }) => cookieOf(headers, "sid")),
  "shown request": (text) => allRequests(text).map(formatRequest),
  pattern: (text) => [pathPattern.test(latin1(text)), pathRewrite.replace(latin1(text), "$1")],
};

const ofExchange: Readonly<Record<string, Read>> = {
  "HTTP text": (text) => [text, ...httpTexts(text)].map((each) => [parseHttpText(each), parseAnswerHead(each)]),
  "written HTTP text": (text) => allRequests(text).map(formatHttpText),
  "import of goreplay": (text) => readAll((file) => readGoreplay(file, "file", maxRecordBytes), goreplayFiles(text)),
  "import of har": (text) => readAll((file) => readHar(file, "file", maxRecordBytes), harFiles(text)),
  "import of nginx": (text) => readAll((file) => readAccessLog(file, "file", parseNginxLine, "UTC"), logs(text)),
  "import of haproxy": (text) => readAll((file) => readAccessLog(file, "file", parseHaproxyLine, "UTC"), logs(text)),
  "import in short chunks": (text) => importAll(`1 a 1\n${latin1(text)}`, {}, 1),
  ...Object.fromEntries(
    exportFormats.map((format) => [
      `export to ${format}`,
      async (text: Buffer) => collect(exportRequests(format, streamOf(allRequests(text)))),
    ]),
  ),
};

/** Everything that reads what clients, peers, queues, archives and imported files hold. */
export const readers: readonly Reader[] = Object.entries({ ...ofAgent, ...ofCore, ...ofExchange }).map(
  ([name, read]) => ({ name, read }),
);

/** The text in each place of a request. */
function allRequests(text: Buffer) {
  const value = latin1(text);
  const named = pairs(text).map((part) => part.toString("latin1"));
  const changes: readonly Partial<RequestParts>[] = [
    { path: `/${value}`, id: value, method: value },
    { headers: ["host", value, "x-a", value, "cookie", value, "upgrade", value, "connection", value] },
    {
      headers: ["transfer-encoding", value, "content-type", value, "content-encoding", value, "content-length", value],
    },
    { headers: named },
    // Each header may be named in a Connection header.
    { headers: ["connection", named.join(","), ...named] },
    { method: "POST", body: text },
  ];
  return changes.map((each) => expectedRequest(each, 0));
}

function httpTexts(text: Buffer): Buffer[] {
  const value = latin1(text);
  return [
    `GET ${value} HTTP/1.1\r\n\r\n`,
    `GET / HTTP/1.1\r\n${value}\r\n\r\n`,
    `GET / HTTP/1.1\r\na: ${value}\r\n ${value}\r\n\r\n${value}`,
    `POST / HTTP/1.1\r\ntransfer-encoding: ${value}\r\ncontent-length: ${value}\r\n\r\n`,
    `POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n${value}`,
    `POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1${value}\r\na\r\n0\r\n\r\n${value}`,
    `HTTP/1.1 200\r\na: ${value}\r\n\r\n`,
    `HTTP/1.1 100\r\n\r\n${value}`,
  ].map((each) => Buffer.from(each, "latin1"));
}

async function readAll(
  read: (file: ByteStream) => AsyncIterable<unknown>,
  files: readonly (Buffer | string)[],
): Promise<void> {
  for (const file of files) await collect(read(inChunks(file)));
}

function goreplayFiles(text: Buffer): readonly (Buffer | string)[] {
  const first = "1 a 1700000000000000000\n";
  const records = httpTexts(text).map((each) => `${first}${latin1(each)}\n🐵🙈🙉\n`);
  return [text, records.join(""), first + latin1(text)];
}

function harFiles(text: Buffer): readonly string[] {
  const value = text.toString();
  const headers = [{ name: "a", value }, ...inPieces(text).map((piece) => ({ name: latin1(piece), value: "a" }))];
  const postData = { mimeType: value, text: value, params: [{ name: value, value, fileName: value }] };
  const request = { method: "POST", url: `http://a/${value}`, httpVersion: value, headers, cookies: headers, postData };
  const inStream = { ...request, postData: { mimeType: "multipart/form-data", text: `content-type: a\r\n${value}` } };
  const form = { ...request, postData: { mimeType: "", params: headers } };
  const entries = [request, inStream, form, { ...request, method: value, url: value }].map((each) => ({
    startedDateTime: "2026-01-01T00:00:00Z",
    request: each,
    response: { status: 200, statusText: value, headers },
  }));
  return [`{"log":{"entries":[${latin1(text)}]}}`, latin1(text), JSON.stringify({ log: { entries } })];
}

function logs(text: Buffer): readonly (Buffer | string)[] {
  const path = latin1(text);
  const nginx = `a - - [01/Jan/2026:00:00:00 +0000] "GET /${path} HTTP/1.1" 200 1`;
  const haproxy = `a:1 [01/Jan/2026:00:00:00.000] f b/s 0/0/0/0/0 200 1 - - ---- 1/1/0/0/0 0/0 "GET /${path} HTTP/1.1"`;
  return [text, nginx, haproxy, path + nginx, path + haproxy];
}

function message(args: Readonly<Record<string, Buffer>>) {
  const items: Items = [
    ["method", str("GET")],
    ["path", str("/")],
    ...Object.entries(args).map(([name, value]) => [name, str(value)] as const),
  ];
  return { args: items };
}

/** Reads the messages of one NOTIFY, with every condition on. */
function take(payload: Buffer): void {
  const { intake } = createHalf(
    { fraction: 0.5, stickyBy: { by: "cookie", name: "sid", missing: "in" } },
    {
      headers: ["x-h*t"],
      cookies: ["s*d", "a"],
      query: ["a", "t*n"],
      form: ["a", "p*d"],
      json: [["a"], ["**", "a*"]],
      dropBodies: [{ path: "/*a*b" }, { path: "/x", type: "image/*" }],
      key: { env: "KEY", value: "a key of the growth test" },
    },
    {
      path: pathPattern,
      headers: { a: pathPattern },
    },
  );
  try {
    intake.take(payload, 0, payload.length, 16_384);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

/** Types and bodies with the text in each place that is read. */
function redactedBodies(text: string): (readonly [type: string, body: string])[] {
  const multipart = "multipart/form-data; boundary=b";
  return [
    ["application/json", text],
    ["application/json", `{"a":${JSON.stringify(text)},${JSON.stringify(text)}:[${text}]}`],
    ["application/x-www-form-urlencoded", text],
    ["application/x-www-form-urlencoded", `b={"a":"${text}"}&b=[${text}`],
    ["text/plain", text],
    [text, text],
    [multipart, `--b\r\nContent-Disposition: form-data; name=b\r\n\r\n${text}\r\n--b--\r\n`],
    [multipart, `--b\r\nContent-Disposition: form-data; name="${text}"\r\n\r\n${text}\r\n--b--\r\n`],
    [multipart, `--b\r\n${text}\r\n\r\n--b--\r\n`],
    [`multipart/form-data; boundary=${text}`, `--${text}\r\n`],
  ];
}

/** Names and values in turn. */
function pairs(text: Buffer): Buffer[] {
  return inPieces(text).flatMap((piece) => [piece.subarray(0, 8), piece.subarray(8)]);
}

function inPieces(text: Buffer, bytes = pieceBytes): Buffer[] {
  return Array.from({ length: Math.ceil(text.length / bytes) }, (_, i) => text.subarray(i * bytes, (i + 1) * bytes));
}

function latin1(text: Buffer): string {
  return text.toString("latin1");
}
