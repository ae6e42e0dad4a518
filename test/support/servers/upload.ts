import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A request, as its client sends it byte by byte. */
export interface Upload {
  readonly over: "HTTP/1.1" | "HTTP/2";
  readonly method?: string;
  /** What the request line names: a path, `*` or an authority. */
  readonly path: string;
  /** With lower-case names. Without `content-length`, a body is chunked in HTTP/1.1. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The parts of the body, one chunk or DATA frame each, and pauses in milliseconds. None if the request has no body. */
  readonly parts?: readonly (Buffer | number)[];
  /** Whether the client sends the body only once it has a `100 Continue`. */
  readonly expectsContinue?: boolean;
  /** What follows the last part: its end by default. */
  readonly ending?: "end" | "nothing" | "FIN" | "RST" | "RST_STREAM";
}

/** What the client saw. */
export interface Answer {
  /** The status codes, interim ones first, or what happened instead. */
  readonly seen: string;
  /** From the first byte of the request to the final status. */
  readonly ms: number;
}

const patienceMs = 15_000;
/** How long a client that has broken off its upload waits: some versions of HAProxy keep such a connection open. */
const leavingMs = 1_000;
/** RST_STREAM of the first stream, with the code CANCEL. Node ends a stream before it resets it: for a server, it is whole. */
const cancelStream = Buffer.from("00000403000000000100000008", "hex");

/** The bytes of the body that the client sends. */
export function bytesOf({ parts = [] }: Upload): Buffer {
  return Buffer.concat(parts.filter((part) => typeof part !== "number"));
}

/** Sends the request to 127.0.0.1. Resolves at the final status, or when the connection or the stream ends without one. */
export async function sendUpload(upload: Upload, port: number): Promise<Answer> {
  const startMs = performance.now();
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  const seen = await new Promise<string>((resolve) => {
    const leaves = upload.ending === "FIN" || upload.ending === "RST" || upload.ending === "RST_STREAM";
    const timer = setTimeout(() => resolve("no answer"), leaves ? leavingMs : patienceMs);
    socket.on("error", () => {});
    socket.on("close", () => clearTimeout(timer));
    if (upload.over === "HTTP/1.1") sendHttp1(upload, socket, resolve);
    else sendHttp2(upload, socket, resolve);
  });
  socket.destroy();
  return { seen, ms: performance.now() - startMs };
}

function sendHttp1(upload: Upload, socket: Socket, resolve: (seen: string) => void): void {
  const { method = "GET", path, headers = {}, parts, expectsContinue } = upload;
  const isChunked = parts !== undefined && headers["content-length"] === undefined;
  const lines = Object.entries({
    host: "shop.example",
    ...headers,
    ...(isChunked && { "transfer-encoding": "chunked" }),
    ...(expectsContinue && { expect: "100-continue" }),
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const toBytes = (part: Buffer) =>
    isChunked ? Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")]) : part;
  const sendBody = () => sendParts(upload, socket, (part) => socket.write(toBytes(part)), sendEnd);
  const sendEnd = () => isChunked && socket.write("0\r\n\r\n");

  let text = "";
  let interim = "";
  socket.on("data", (bytes) => {
    text += bytes.toString("latin1");
    for (;;) {
      const [head, status] = /^HTTP\/1\.1 (\d{3}).*?\r\n\r\n/s.exec(text) ?? [];
      if (head === undefined) return;
      if (status !== "100") return resolve(`${interim}${status}`);
      interim += "100 ";
      text = text.slice(head.length);
      if (expectsContinue) void sendBody();
    }
  });
  socket.on("close", () => resolve(`${interim}closed`));
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`);
  if (!expectsContinue) void sendBody();
}

function sendHttp2(upload: Upload, socket: Socket, resolve: (seen: string) => void): void {
  const { method = "GET", path, headers = {}, parts, expectsContinue } = upload;
  const session = connectHttp2("http://shop.example", { createConnection: () => socket });
  session.on("error", () => {});
  const stream = session.request(
    {
      ":method": method,
      ...(method !== "CONNECT" && { ":path": path, ":scheme": "http" }),
      ...headers,
      ...(expectsContinue && { expect: "100-continue" }),
    },
    { endStream: parts === undefined },
  );
  const sendEnd = () => stream.end();
  const sendBody = () => sendParts(upload, socket, (part) => stream.write(part), sendEnd);
  let interim = "";
  stream.on("error", () => {});
  stream.on("continue", () => {
    interim = "100 ";
    void sendBody();
  });
  stream.on("response", ({ ":status": status }) => resolve(`${interim}${status}`));
  stream.on("close", () => resolve(`${interim}closed`));
  if (!expectsContinue) void sendBody();
}

async function sendParts(
  { parts = [], ending = "end" }: Upload,
  socket: Socket,
  send: (part: Buffer) => void,
  sendEnd: () => void,
): Promise<void> {
  for (const part of parts) {
    if (typeof part === "number") await sleep(part);
    else send(part);
  }
  if (ending === "end") sendEnd();
  else if (ending === "FIN") socket.end();
  else if (ending === "RST") socket.resetAndDestroy();
  else if (ending === "RST_STREAM") socket.end(cancelStream);
}
