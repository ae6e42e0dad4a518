import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { maskBody } from "../../../relay/redaction/body-mask.ts";
import { createJsonPaths, parseJsonPath } from "../../../relay/redaction/json-keys.ts";
import { LimitedMask } from "../../../relay/redaction/limited-mask.ts";
import { createNameTest } from "../../../relay/redaction/name-patterns.ts";
import { maskRequest } from "../../../relay/redaction/shown-request.ts";
import { redacted } from "../../../relay/redaction/value-mask.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";
import { assertTrue, type FileKind } from "./file-kind.ts";

// The first line is the Content-Type, the second one the Content-Encoding; what follows is the body. What is to be masked has this word.
const secret = "hush";
const texts = [
  `application/json\n\n{"pin":"${secret}","a":[1,{"b":{"pin":{"c":"${secret}"}}},"é\\n"],"user":{"name":"${secret}","n":-1.5e3}}`,
  `application/json\n\n[{"\\u0070in":"${secret}"},{"\\u0070in\\u0000":1,"p\\/in":"\\ud83d\\ude00"}]`,
  `application/x-ndjson\n\n{"pin":"${secret}"}\n{"pin":["${secret}"]}\n`,
  `application/x-www-form-urlencoded\n\na=1&pin=${secret}&user%5Bpin%5D=${secret}&j=%7B%22pin%22%3A%22${secret}%22%7D&x`,
  `multipart/form-data; boundary=b\n\n--b\r\nContent-Disposition: form-data; name="pin"\r\n\r\n${secret}\r\n--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\nContent-Type: application/json\r\n\r\n{"pin":"${secret}"}\r\n--b--\r\n`,
  `text/plain\n\nurl=http%3A%2F%2Fa%2F%3Fpin%3D${secret}&b=c`,
];
const marks = [
  ...'"pin":|"hush"|pin=|hush|&|%26|%3D|%|=|;|[pin]|{"|"}|\\u0070in|\\"|null|[[|]]|\n|--b|--b--|--b\r\n|\r\n\r\n|boundary=|; charset=utf-16'.split(
    "|",
  ),
  ...'gzip|identity|application/json|text/|multipart/form-data; boundary="b"|\xef\xbb\xbf|\xff\xfe|name*=|Content-Transfer-Encoding: base64\r\n'.split(
    "|",
  ),
];
const rules = {
  fields: createNameTest(["pin"]),
  keys: createJsonPaths([parseJsonPath("**.pin") ?? [], parseJsonPath("$.user.name") ?? []]),
  limit: new LimitedMask(() => redacted),
};

/** Bodies in which secrets are masked. */
export const redactedBodies: FileKind = {
  name: "redacted body",
  seeds: texts.map((text) => ({ bytes: Buffer.from(text, "utf8"), accepted: 1, refused: 0 })),
  share: 130,
  marks,
  read: (bytes) => {
    const [type = "", encoding = "", ...rest] = bytes.toString("latin1").split("\n");
    const body = rest.join("\n");
    const facts = { types: [type], encodings: encoding === "" ? [] : [encoding] };
    show(type, encoding, body);
    const masked = maskBody(body, true, facts, rules);
    if ("unreadable" in masked) {
      assertTrue(/^(?:encoded|ambiguous|damaged|truncated|large)$/.test(masked.unreadable), "an unknown reason");
      return { accepted: 0, refused: 1 };
    }
    const isDamaged = !texts.includes(bytes.toString());
    assertTrue(isDamaged || !masked.text.includes(secret), () => `undamaged, it became ${masked.text}`);
    checkJson(type, encoding, body, masked.text);
    checkForm(type, encoding, body, masked.text);
    const again = maskBody(masked.text, true, facts, rules);
    assertTrue(
      "text" in again && again.text === masked.text,
      () => `masked twice, it is ${JSON.stringify(again)} instead of ${JSON.stringify(masked)}`,
    );
    return { accepted: 1, refused: 0 };
  },
};

/** In JSON, every value behind the keys is masked, and all else is kept. */
function checkJson(type: string, encoding: string, body: string, text: string): void {
  if (!/^application\/json$/i.test(type) || encoding !== "") return;
  const read = (json: string): unknown => JSON.parse(Buffer.from(json, "latin1").toString());
  let before: unknown;
  try {
    before = read(body);
  } catch {
    return;
  }
  assertTrue(JSON.stringify(read(text)) === JSON.stringify(maskedValue(before, [])), () => `JSON became ${text}`);
}

function maskedValue(value: unknown, path: readonly string[]): unknown {
  const last = path.at(-1);
  if (last?.toLowerCase() === "pin" || path.join("\0").toLowerCase() === "user\0name") return redacted;
  if (Array.isArray(value)) return value.map((each) => maskedValue(each, path));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, each]) => [key, maskedValue(each, [...path, key])] as const);
  return Object.fromEntries(entries);
}

/** In a form as browsers write it, every value behind the name is masked. */
function checkForm(type: string, encoding: string, body: string, text: string): void {
  if (type.toLowerCase() !== "application/x-www-form-urlencoded" || encoding !== "" || /^[^&=]*[[{]/.test(body)) return;
  for (const [name, value] of new URLSearchParams(text)) {
    assertTrue(
      name.toLowerCase() !== "pin" || value === "" || value.startsWith(redacted),
      () => `a field is kept: ${text}`,
    );
  }
}

/** What people are shown does not fail. */
function show(type: string, encoding: string, body: string): void {
  const headers = [
    "content-type",
    type,
    ...(encoding === "" ? [] : ["content-encoding", encoding]),
    "cookie",
    body.slice(0, 200),
  ];
  const parts = { headers, path: `/?${body.slice(0, 200)}`, body: Buffer.from(body, "latin1") };
  const request: CapturedRequest = expectedRequest(parts, 0);
  const { path, headers: shown } = maskRequest(request, redacted);
  assertTrue(path.startsWith("/?") && shown.length === headers.length, "a shown request lacks a part");
}
