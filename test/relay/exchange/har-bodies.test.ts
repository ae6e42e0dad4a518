import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importAll } from "../../support/data/imports.ts";

const json = "application/json";
const form = "application/x-www-form-urlencoded";
const binary = "application/octet-stream";
const multipart = "multipart/form-data; boundary=XX";
const crlf = "\r\n";
const part = (head: string, value: string) =>
  ["--XX", `Content-Disposition: form-data; ${head}`, "", value, ""].join(crlf);
const fileForm = [
  "--XX",
  'Content-Disposition: form-data; name="f"; filename="x.txt"',
  "Content-Type: text/plain",
  "",
  "abc",
  "--XX--",
  "",
].join(crlf);

interface Case {
  readonly type?: string;
  /** The Content-Length header. */
  readonly length?: number;
  readonly size?: number;
  readonly postData?: object;
  readonly headers?: readonly (readonly [string, string])[];
  readonly method?: string;
}

describe("the body of a HAR entry with a Content-Length", () => {
  it.each<[string, Case, string]>([
    [
      "UTF-8, its size in characters",
      { type: json, length: 15, size: 14, postData: { text: '{"item":"thé"}' } },
      '{"item":"th\xc3\xa9"}',
    ],
    ["a character for each byte", { type: binary, length: 4, size: 4, postData: { text: "ÿþab" } }, "\xff\xfeab"],
    ["Latin-1", { type: form, length: 3, size: 4, postData: { text: "q=é" } }, "q=\xe9"],
    [
      "UTF-8 although the type names Latin-1",
      { type: "text/plain; charset=iso-8859-1", length: 2, postData: { text: "é" } },
      "\xc3\xa9",
    ],
    ["base64", { type: binary, length: 3, postData: { text: "/wCA", encoding: "base64" } }, "\xff\x00\x80"],
    [
      "text that is only called base64",
      { type: json, length: 4, postData: { text: "true", encoding: "base64" } },
      "true",
    ],
    [
      "bytes that Python escaped",
      { type: binary, length: 5, postData: { text: "a\udcff\udc80é" } },
      "a\xff\x80\xc3\xa9",
    ],
    [
      "after the header of the stream",
      {
        type: form,
        length: 7,
        postData: { text: `Content-Type: ${form}${crlf}Content-Length: 7${crlf}${crlf}q=a%26b` },
      },
      "q=a%26b",
    ],
    [
      "a text that begins like the header of a stream",
      { type: json, length: 21, postData: { text: `Content-Length: 1${crlf}${crlf}` } },
      `Content-Length: 1${crlf}${crlf}`,
    ],
    ["raw params", { type: form, length: 7, postData: { params: [{ name: "q", value: "a%26b" }] } }, "q=a%26b"],
    ["decoded params", { type: form, length: 7, postData: { params: [{ name: "q", value: "a&b" }] } }, "q=a%26b"],
    [
      "decoded params, the space as plus",
      { type: form, length: 5, postData: { params: [{ name: "q", value: "a b" }] } },
      "q=a+b",
    ],
    [
      "decoded params, the space as %20",
      { type: form, length: 7, postData: { params: [{ name: "q", value: "a b" }] } },
      "q=a%20b",
    ],
    [
      "raw params with %20",
      { type: form, length: 7, postData: { params: [{ name: "q", value: "a%20b" }] } },
      "q=a%20b",
    ],
    [
      "params with a percent sign",
      { type: form, length: 9, postData: { params: [{ name: "q", value: "a%26b" }] } },
      "q=a%2526b",
    ],
    ["params with a raw plus", { type: form, length: 5, postData: { params: [{ name: "q", value: "a+b" }] } }, "q=a+b"],
    [
      "params with a decoded plus",
      { type: form, length: 7, postData: { params: [{ name: "q", value: "a+b" }] } },
      "q=a%2Bb",
    ],
    ["params in UTF-8", { type: form, length: 8, postData: { params: [{ name: "q", value: "é" }] } }, "q=%C3%A9"],
    ["params in Latin-1", { type: form, length: 5, postData: { params: [{ name: "q", value: "é" }] } }, "q=%E9"],
    [
      "a param without a value",
      { type: form, length: 3, postData: { params: [{ name: "a" }, { name: "b", value: "" }] } },
      "a&b",
    ],
    [
      "params with empty values",
      { type: form, length: 5, postData: { params: [{ name: "a" }, { name: "b", value: "" }] } },
      "a=&b=",
    ],
    [
      "JSON that is called a form",
      { type: form, length: 7, postData: { params: [{ name: '{"a":1}', value: "" }] } },
      '{"a":1}',
    ],
    [
      "JSON with an equals sign that is called a form",
      { type: form, length: 10, postData: { params: [{ name: '{"a":"b', value: '"}' }] } },
      '{"a":"b="}',
    ],
    ["JSON as params", { type: json, length: 7, postData: { params: [{ name: '{"a":1}', value: "" }] } }, '{"a":1}'],
    [
      "a text that is wrong beside params that are right",
      { type: form, length: 5, postData: { text: "q=a b!", params: [{ name: "q", value: "a b" }] } },
      "q=a+b",
    ],
    [
      "a form with a file",
      {
        type: multipart,
        length: fileForm.length,
        postData: { params: [{ name: "f", fileName: "x.txt", contentType: "text/plain", value: "abc" }] },
      },
      fileForm,
    ],
    [
      "a form with converted line ends",
      {
        type: multipart,
        length: part('name="a"', "1").length + 6,
        postData: { text: `${part('name="a"', "1")}--XX--`.replaceAll(crlf, "\n") },
      },
      `${part('name="a"', "1")}--XX--`,
    ],
    [
      "parts after the header of the stream",
      {
        type: multipart,
        length: fileForm.length,
        postData: {
          text: `Content-Type: ${multipart}${crlf}Content-Length: ${fileForm.length}${crlf}${crlf}${fileForm}`,
        },
      },
      fileForm,
    ],
    ["no bytes", { type: json, length: 0, size: -1 }, ""],
  ])("is complete as %s", async (_case, parts, bytes) => {
    expect(await bodyOf(parts)).toEqual({ bytes, state: "complete" });
  });

  it.each<[string, Case, string]>([
    [
      "no spelling has the length",
      { type: form, length: 500, postData: { params: [{ name: "q", value: "a b" }] } },
      "truncated",
    ],
    ["the text is shorter", { type: json, length: 9, size: 3, postData: { text: "abc" } }, "truncated"],
    ["the text is longer", { type: json, length: 2, size: 3, postData: { text: "abc" } }, "truncated"],
    ["the body is missing", { type: json, length: 7 }, "omitted"],
    [
      "the file of a form is missing",
      { type: multipart, length: 999, postData: { params: [{ name: "f", fileName: "x" }] } },
      "omitted",
    ],
    [
      "bytes were replaced, even if the length is right",
      { type: binary, length: 3, postData: { text: "\ufffd" } },
      "truncated",
    ],
    [
      "the text was unzipped",
      { type: json, length: 40, headers: [["content-encoding", "gzip"]], postData: { text: "{}" } },
      "truncated",
    ],
  ])("is not complete if %s", async (_case, parts, state) => {
    expect(await bodyOf(parts)).toMatchObject({ state });
  });

  it("is complete in whatever spelling a tool writes it", async () => {
    const pairs = fc.array(fc.tuple(fc.string({ minLength: 1 }), fc.string({ minLength: 1 })), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(pairs, fc.boolean(), fc.boolean(), async (fields, decoded, asText) => {
        const sent = String(new URLSearchParams(fields));
        const written = decoded ? fields : sent.split("&").map((pair) => pair.split("="));
        const params = written.map(([name, value]) => ({ name, value }));
        const postData = asText ? { text: sent } : { params };
        expect(await bodyOf({ type: form, length: sent.length, postData })).toEqual({ bytes: sent, state: "complete" });
      }),
      { numRuns: 200 },
    );
  });

  it("takes linear time for huge texts and many params", async () => {
    const texts = ["é\udcff", "\n", "%", "a=b&", "\ufffd", "Content-Type: a\r\n", "é"].map((text) =>
      text.repeat(50_000),
    );
    const params = Array.from({ length: 10_000 }, (_, i) => ({ name: `é ${i}`, value: "" }));
    const before = process.cpuUsage();
    for (const type of [form, multipart, binary]) {
      for (const text of texts)
        expect(await bodyOf({ type, length: 1, postData: { text } })).toMatchObject({ state: "truncated" });
      expect(await bodyOf({ type, length: 1, postData: { params } })).toMatchObject({ state: "truncated" });
    }

    expect(process.cpuUsage(before).user).toBeLessThan(30_000_000);
  });

  it("restores bytes that Python escaped, at any place", async () => {
    const bytes = fc.uint8Array({ maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(bytes, fc.nat(40_000), async (tail, before) => {
        const sent = Buffer.concat([
          Buffer.from("é😀".repeat(before % 6_000)),
          Buffer.alloc(before % 3, "a"),
          Buffer.from([0xff]),
          tail,
        ]);
        const text = Buffer.from(sent)
          .toString("latin1")
          .replace(/[\x80-\xff]/g, (byte) => String.fromCharCode(0xdc00 + byte.charCodeAt(0)));
        const half = Math.floor(text.length / 2);
        const mixed = Buffer.from("é😀".repeat(before % 6_000)).toString() + text.slice(half);
        const expected = Buffer.concat([Buffer.from("é😀".repeat(before % 6_000)), sent.subarray(half)]).toString(
          "latin1",
        );
        expect(await bodyOf({ type: binary, length: expected.length, postData: { text: mixed } })).toEqual({
          bytes: expected,
          state: "complete",
        });
      }),
      { numRuns: 50 },
    );
  });

  it("never is complete with another length", async () => {
    const text = fc.string({ unit: "binary" });
    const types = fc.constantFrom(json, form, binary, multipart, "", "text/plain; charset=latin1");
    const param = fc.record({ name: text, value: text, fileName: fc.option(text, { nil: undefined }) });
    const data = fc.record({
      text,
      params: fc.array(param, { maxLength: 3 }),
      encoding: fc.constantFrom("base64", undefined),
    });
    await fc.assert(
      fc.asyncProperty(types, data, fc.nat(40), async (type, postData, length) => {
        const { state, bytes } = await bodyOf({ type, length, postData });
        expect(state !== "complete" || bytes.length === length).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe("the body of a HAR entry without a length", () => {
  it.each<[string, Case, string]>([
    ["text as UTF-8", { type: json, size: 14, postData: { text: '{"item":"thé"}' } }, '{"item":"th\xc3\xa9"}'],
    ["text of unknown size as UTF-8", { type: json, size: -1, postData: { text: "é" } }, "\xc3\xa9"],
    ["text whose size is said to be 0", { type: json, size: 0, postData: { text: "{}" } }, "{}"],
    ["text in its charset", { type: "text/plain; charset=ISO-8859-1", size: -1, postData: { text: "é" } }, "\xe9"],
    ["text with the character U+FFFD as it is", { type: json, postData: { text: "\ufffd" } }, "\xef\xbf\xbd"],
    ["bytes of the right number", { type: binary, size: 3, postData: { text: "\u00ff\u0000\u0080" } }, "\xff\x00\x80"],
    ["bytes of an unknown type", { size: 3, postData: { text: "\u00ff\u0000\u0080" } }, "\xff\x00\x80"],
    ["text of an unknown type and the right size", { size: 2, postData: { text: "\u00ff" } }, "\xc3\xbf"],
    ["text of an unknown type and size", { postData: { text: "\u00ff" } }, "\xc3\xbf"],
    ["base64", { type: binary, postData: { text: "/wCA", encoding: "base64" } }, "\xff\x00\x80"],
    ["ASCII of a binary type", { type: binary, postData: { text: "abc" } }, "abc"],
    [
      "text after the header of the stream",
      { type: form, postData: { text: `Content-Type: ${form}${crlf}${crlf}a=b` } },
      "a=b",
    ],
    ["raw params", { type: form, postData: { params: [{ name: "q", value: "a%26b" }] } }, "q=a%26b"],
    ["decoded params", { type: form, postData: { params: [{ name: "q", value: "é&=" }] } }, "q=%C3%A9%26%3D"],
    [
      "parts after the header of the stream",
      {
        type: multipart,
        postData: { text: `Content-Type: ${multipart}${crlf}Content-Length: 3${crlf}${crlf}a=b` },
      },
      "a=b",
    ],
    [
      "a message with headers of its own",
      { type: "message/http", postData: { text: `Content-Type: ${form}${crlf}${crlf}a=b` } },
      `Content-Type: ${form}${crlf}${crlf}a=b`,
    ],
    [
      "a form in parts",
      { type: multipart, postData: { params: [{ name: 'a"b', value: "1" }] } },
      `${part('name="a%22b"', "1")}--XX--${crlf}`,
    ],
    ["nothing", { size: 0 }, ""],
    ["nothing of a GET", { method: "GET", postData: { mimeType: "text/plain", text: "" } }, ""],
    [
      "chunked text",
      {
        type: json,
        headers: [
          ["transfer-encoding", "chunked"],
          ["content-length", "5"],
        ],
        postData: { text: "{}" },
      },
      "{}",
    ],
  ])("is complete as %s", async (_case, parts, bytes) => {
    expect(await bodyOf(parts)).toEqual({ bytes, state: "complete" });
  });

  it.each<[string, Case, string]>([
    ["its size is larger", { type: json, size: 7, postData: { text: "abc" } }, "truncated"],
    ["it is missing and has a size", { size: 7 }, "omitted"],
    ["it is missing and was chunked", { headers: [["transfer-encoding", "chunked"]] }, "omitted"],
    [
      "the tool left it out",
      { postData: { mimeType: json, text: "", comment: "Request body is not included" } },
      "omitted",
    ],
    ["a form has a file", { type: multipart, postData: { params: [{ name: "a", fileName: "x.png" }] } }, "omitted"],
    [
      "the text of a form has a file",
      { type: multipart, postData: { text: part('name="f"; filename="x"', "") } },
      "truncated",
    ],
    ["bytes were replaced", { type: "image/png", postData: { text: "\ufffdPNG" } }, "truncated"],
    ["bytes of a form were replaced", { type: multipart, postData: { text: part('name="f"', "\ufffd") } }, "truncated"],
    ["it is binary and can be UTF-8 or bytes", { type: binary, postData: { text: "\u00ff" } }, "truncated"],
    [
      "the text was unzipped",
      { type: json, headers: [["content-encoding", "br"]], postData: { text: "{}" } },
      "truncated",
    ],
  ])("is not complete if %s", async (_case, parts, state) => {
    expect(await bodyOf(parts)).toMatchObject({ state });
  });
});

/** Imports an entry with this body; its bytes as one character each. */
async function bodyOf({
  type,
  length,
  size = -1,
  postData,
  headers = [],
  method = "POST",
}: Case): Promise<object & { bytes: string; state: string }> {
  const pairs = [
    ...(type === undefined ? [] : [["Content-Type", type]]),
    ...(length === undefined ? [] : [["Content-Length", String(length)]]),
    ...headers,
  ].map(([name, value]) => ({ name, value }));
  const request = { method, url: "http://a/", httpVersion: "HTTP/1.1", headers: pairs, bodySize: size };
  const entry = {
    startedDateTime: "2026-01-02T03:04:05Z",
    request: { ...request, ...(postData && { postData: { mimeType: type ?? "", ...postData } }) },
    response: { status: 200 },
  };
  const { requests, mistakes } = await importAll(JSON.stringify({ log: { entries: [entry] } }));
  expect(mistakes).toEqual([]);
  return { bytes: Buffer.from(requests[0].body).toString("latin1"), state: requests[0].bodyState };
}
