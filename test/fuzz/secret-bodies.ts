import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { below, names, pairs, pick, type Random, types, values } from "./secret-words.ts";

interface Body {
  readonly type: string;
  readonly body: string;
}

const keys = "token|user|password|pin|list|items|a|Token|b|t\\u006fken|\xc3\xa9|na me|deep".split("|");
const scalars = '"s3cret"|"s3cret"|1|-1.5e3|true|null|""|"a\\"b\\u00e9"|"\xc3\xa9"|"\\\\"|0'.split("|");

/** A body and its Content-Type; seldom cut. */
export function bodyOf(random: Random): Body {
  const form = "application/x-www-form-urlencoded";
  const makes: readonly (() => Body)[] = [
    () => ({ type: "", body: "" }),
    () => ({ type: "application/json", body: jsonValue(random, 0) }),
    () => ({ type: "application/json; charset=utf-8", body: jsonValue(random, 0) }),
    () => ({ type: "application/x-ndjson", body: `${jsonValue(random, 0)}\n${jsonValue(random, 0)}\n` }),
    () => ({ type: form, body: pairs(random, "&") }),
    () => ({
      type: form,
      body: `x=${encodeURIComponent(JSON.stringify({ token: "s3cret", user: 1 }))}&${pairs(random, "&")}`,
    }),
    () => multipart(random),
    () => multipart(random),
    () => ({ type: pick(types, random), body: random() < 0.5 ? jsonValue(random, 0) : pairs(random, "&") }),
    () => ({ type: "image/png", body: "\x89PNG\r\n\x1a\n\0\0" }),
    () => ({ type: random() < 0.5 ? "" : pick(types, random), body: unsaid(random) }),
  ];
  const made = pick(makes, random)();
  if (random() < 0.05) return { ...made, body: made.body.slice(0, below(made.body.length + 1, random)) };
  return made;
}

/** A body of which its type says nothing. */
function unsaid(random: Random): string {
  if (random() < 0.5) return multipart(random).body;
  const zlib = { level: below(10, random), windowBits: pick([15, 15, 15, 14, 9], random) };
  const compress = pick([gzipSync, deflateSync, zstdCompressSync], random);
  return compress(pairs(random, "&"), zlib).toString("latin1");
}

function multipart(random: Random): Body {
  const boundary = pick(["b", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a'b"], random);
  const parts = Array.from({ length: 1 + below(4, random) }, () => {
    const file = random() < 0.3 ? '; filename="f"' : "";
    const type = random() < 0.4 ? `Content-Type: ${pick(types, random)}\r\n` : "";
    const content = random() < 0.3 ? jsonValue(random, 0) : random() < 0.02 ? unsaid(random) : pick(values, random);
    const name = pick(names, random);
    const written = pick([`"${name}"`, `"${name}"`, `"${name}"`, `"${name}"`, name, `'${name}'`, `"${name}"b`], random);
    return `--${boundary}\r\nContent-Disposition: form-data; name=${random() < 0.1 ? written : `"${name}"`}${file}\r\n${type}\r\n${content}\r\n`;
  });
  const quoted = random() < 0.5 ? `"${boundary}"` : boundary;
  return { type: `multipart/form-data; boundary=${quoted}`, body: `${parts.join("")}--${boundary}--\r\n` };
}

function jsonValue(random: Random, depth: number): string {
  const how = depth > 3 ? 0 : below(depth === 0 ? 12 : 5, random);
  const blank = pick(["", "", " ", "\n  "], random);
  const length = below(5, random);
  if (how > 2) {
    const members = Array.from({ length }, () => `"${pick(keys, random)}":${blank}${jsonValue(random, depth + 1)}`);
    return `{${blank}${members.join(`,${blank}`)}${blank}}`;
  }
  if (how > 1) return `[${Array.from({ length }, () => jsonValue(random, depth + 1)).join(`,${blank}`)}${blank}]`;
  return pick(scalars, random);
}
