import { createHmac } from "node:crypto";
import {
  bin,
  bool,
  headersBinary,
  headersText,
  int64,
  ipv4,
  ipv6,
  notify,
  nul,
  str,
  uint64,
} from "../support/spop/spop-frames.ts";
import { loopKey } from "./fuzz-settings.ts";
import { bodyOf } from "./secret-bodies.ts";
import { below, hurt, names, pairs, pick, type Random, types, values } from "./secret-words.ts";

type Make = (random: Random) => string;

const paths = "/|/api/v1|/form|/login|/Login/now|/files/a.png|/api;token=s3cret/b;x=1|/a//b|/l%6fgin|/api/%00".split(
  "|",
);
// The parameter is in place of the question mark.
const urls = [
  "/a;?",
  "https://h/a;b=1;?/c",
  "%2Fa%3F?",
  "0;url=/a;?",
  "</a>; rel=next, </b;?>",
  "text/html;?",
  "a/b ;?",
];
const agents = ["Mozilla/5.0", "curl/8", "agent (a; b)"];

/** Requests with values that rules mask: the NOTIFYs of HAProxys with various `args`. */
export function secretNotify(random: Random): Buffer {
  const count = random() < 0.1 ? 2 : 1;
  return notify({ messages: Array.from({ length: count }, () => ({ args: argumentsOf(random) })) });
}

function argumentsOf(random: Random): (readonly [string, Buffer])[] {
  const query = random() < 0.7 ? hurt(pairs(random, "&"), random) : "";
  const path = pick(paths, random);
  const { type, body: whole } = bodyOf(random);
  const body = hurt(whole, random);
  const headers = headersOf(random, type, body).map((part, i) => (i % 2 === 0 ? part : hurt(part, random)));
  const method = pick(["GET", "POST", "POST", "PUT", "PATCH", "OPTIONS"], random);
  const isText = random() < 0.3;
  const all: (readonly [string, Buffer])[] = [
    ["method", str(method)],
    ...pathArguments(random, path, query),
    ["ver", str(pick(["1.1", "2.0", "1.0"], random))],
    ["hdrs", isText ? str(headersText(headers)) : bin(headersBinary(headers))],
    ["body", body === "" && random() < 0.3 ? nul : bin(body)],
  ];
  if (random() < 0.7) all.push(["whole", bool(random() < 0.9)]);
  if (random() < 0.5) all.push(["body_len", int64(random() < 0.95 ? body.length : body.length + 7)]);
  if (random() < 0.7)
    all.push(["src", random() < 0.7 ? ipv4(10, 0, 0, below(9, random)) : ipv6(Buffer.alloc(16, below(9, random)))]);
  if (random() < 0.3) all.push(["id", str(`id-${below(1_000, random)}`)]);
  if (random() < 0.3) all.push(...answerArguments(random));
  return all;
}

function pathArguments(random: Random, path: string, query: string): (readonly [string, Buffer])[] {
  const target = query === "" ? path : `${path}?${query}`;
  const how = below(4, random);
  if (how === 0)
    return [
      ["path", str(path)],
      ["query", query === "" ? nul : str(query)],
    ];
  if (how === 1) return [["url", str(`https://shop.example${target}`)]];
  return [["pathq", str(target)]];
}

function answerArguments(random: Random): (readonly [string, Buffer])[] {
  const headers = [
    "Location",
    `/next?${pairs(random, "&")}`,
    "Set-Cookie",
    setCookie(random),
    "X-Auth-Token",
    pick(values, random),
    "age",
    "1",
  ];
  return [
    ["status", int64(pick([200, 201, 302, 404, 503], random))],
    ["time", uint64(below(2_000, random))],
    ["res_bytes", int64(below(100_000, random))],
    ["res_digest", str(`crc-${below(99, random)}`)],
    ["res_hdrs", random() < 0.5 ? bin(headersBinary(headers)) : str(headersText(headers.map(withoutBreaks)))],
  ];
}

function headersOf(random: Random, type: string, body: string): string[] {
  const headers = [
    "Host",
    pick(["shop.example", "shop.example", "b.example:81", "b.example?token=s3cret"], random),
    "user-agent",
    pick(agents, random),
  ];
  const add = (share: number, name: string, value: Make) => {
    if (random() < share) headers.push(name, withoutBreaks(value(random)));
  };
  add(0.4, "Cookie", cookies);
  add(0.1, "cookie", cookies);
  add(0.3, "Authorization", (r) => `Bearer ${pick(values, r)}`);
  add(0.2, "X-Auth-Token", (r) => pick(values, r));
  add(0.1, "X-AUTH-TOKEN", (r) => ` ${pick(values, r)} `);
  add(0.2, "Referer", (r) => `https://shop.example/a?${pairs(r, "&")}`);
  add(0.1, "Location", (r) => pick(urls, r).replace("?", `${pick(names, r)}=${pick(values, r)}`));
  add(0.05, "Link", (r) => `<https://shop.example/?${pairs(r, "&")}>; rel="next"`);
  add(0.05, "Set-Cookie", setCookie);
  add(0.1, "Content-MD5", () => "bWQ1");
  add(0.05, "X-Amz-Content-Sha256", () => "abcd");
  add(0.05, "Content-Encoding", (r) => pick(["gzip", "identity", ""], r));
  add(0.02, "Content-Type", (r) => pick(types, r));
  if (random() < 0.04) {
    headers.push("Upgrade", pick(["websocket", "h2c", "TLS/1.0, websocket"], random));
    headers.push("Connection", pick(["upgrade", "close", "HTTP2-Settings, Upgrade"], random));
  }
  add(0.03, "X-Mirror-Id", (r) => pick(["1", "id.0123456789012345678901", signed("id-1")], r));
  if (random() < 0.02) for (let i = 0; i < 40 + below(300, random); i++) headers.push(`x-many-${i}`, String(i));
  if (random() < 0.01)
    for (let i = 0; i < 130 + below(150, random); i++) headers.push(`x-${i}-token`, pick(values, random));
  if (type !== "" || random() < 0.3) headers.push(pick(["Content-Type", "content-type"], random), type);
  if (random() < 0.8) headers.push(random() < 0.5 ? "content-length" : "Content-Length", String(body.length));
  else if (random() < 0.5) headers.push("Transfer-Encoding", random() < 0.9 ? "chunked" : "gzip, chunked");
  if (random() < 0.005) headers.push("Content-Length", ",".repeat(1_020 + below(10, random)));
  // Behind all others: the last header must not get lost.
  headers.push("x-last", String(below(1_000, random)));
  return headers;
}

function cookies(random: Random): string {
  return `${pairs(random, "; ")}${random() < 0.1 ? "; alone" : ""}`;
}

function setCookie(random: Random): string {
  const expires = random() < 0.5 ? "; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/" : "; HttpOnly";
  return `${pick(names, random)}=${pick(values, random)}${expires}`;
}

function signed(id: string): string {
  return `${id}.${createHmac("sha256", loopKey).update(id).digest("base64url").slice(0, 22)}`;
}

function withoutBreaks(text: string): string {
  return text.replace(/[\r\n]/g, "");
}
