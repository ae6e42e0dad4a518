import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { formatFrame } from "../../../agent/spop/frame-text.ts";
import { exportRequests } from "../../../relay/exchange/export.ts";
import { exportFormats } from "../../../relay/exchange/exported.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { toHttpText, toJsonLine } from "../../../relay/pack/request-line.ts";
import { formatRequest } from "../../../relay/pack/request-text.ts";
import { maskSecretText } from "../../../relay/redaction/secret-text.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";
import { bin, headersBinary, headersText, notify, str } from "../../support/spop/spop-frames.ts";

// Written by hand, without the list of the implementation. § is replaced by a number of its own in each place.
const path = [
  ...[
    "/proxy/https://me:Hidden§@db.example/api/v1/orders;jsessionid=Hidden§/items/4111111111111111/eyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln",
    "?page=2",
  ],
  ...["&token=Hidden§", "&access_token=Hidden§", "&api-key=Hidden§", "&apiKey=Hidden§", "&pa%73sword=Hidden§"],
  ...[
    "&X-Amz-Signature=Hidden§",
    "&X-Amz-Credential=Hidden§",
    "&X-Amz-Security-Token=Hidden§",
    "&client_secret=Hidden§",
  ],
  ...[
    "&user[passwd]=Hidden§",
    "&jwt=Hidden§;sig=Hidden§",
    "&next=%2Fcb%3Fauth%3DHidden§%26x%3D1",
    "&card=5555+5555-5555%204444",
  ],
  ...["&url=https%3A%2F%2Fuser%3AHidden§%40db.example%2Fx", "&sort=name&author=tolkien&monkey=george&keyboard=qwertz"],
].join("");

const headers = [
  ...["Host", "shop.example", "Content-Type", "application/json", "Accept", "text/html;q=0.9", "X-Author", "tolkien"],
  ...["Authorization", "Bearer Hidden§", "Proxy-Authorization", "Basic Hidden§", "Cookie", "theme=dark; sid=Hidden§"],
  ...["X-Api-Key", "Hidden§", "X_API_KEY", "Hidden§", "X-Auth", "Hidden§", "X-Amz-Security-Token", "Hidden§"],
  ...[
    "X-CSRF-Token",
    "Hidden§",
    "X-Hub-Signature-256",
    "sha256=Hidden§",
    "X-Jwt-Assertion",
    "Hidden§",
    "Session-Id",
    "Hidden§",
  ],
  ...[
    "Referer",
    "https://shop.example/a?b=c&token=Hidden§#access_token=Hidden§",
    "X-Original-URL",
    "/x?password=Hidden§",
  ],
  ...["Link", "<https://x.example/?key=Hidden§>; rel=next", "X-Forwarded-Uri", "https://me:Hidden§@shop.example/"],
  ...["X-Note", "call me with Bearer abcHidden§.x9, then card 4012 8888 8888 1881", "X-Data", '{"password":"Hidden§"}'],
  ...["X-Aws", "AKIAHIDDENHIDDEN§§§§"],
];

const answer = [
  "Set-Cookie",
  "sid=Hidden§; Path=/",
  "Location",
  "https://app.example/cb?auth_key=Hidden§",
  "Server",
  "nginx",
];

const json = `{"user":{"name":"tolkien","password":"Hidden§","pass\\u0077ord":"Hidden§","author":"monkey"},"token":["Hidden§",{"a":"Hidden§"}],
"apiKey":12345678§,"secret":{"deep":{"er":"Hidden§"}},"card":{"no":"4111 1111 1111 1111","other":4111111111111111},"note":"my password: Hidden§",
"nested":"{\\"token\\":\\"Hidden§\\"}","url":"https://u:Hidden§@host/x?key=Hidden§","list":[{"X-Auth-Token":"Hidden§"}],"last":"visible"}`;

const multipart = ["name", "password", "user[token]"]
  .map(
    (name, i) => `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${i === 0 ? "tolkien" : "Hidden§"}\r\n`,
  )
  .join("")
  .concat(
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.json"\r\n\r\n{"secret":"Hidden§","last":"visible"}\r\n--b--\r\n',
  );

const xml =
  '<?xml version="1.0"?><a><user>tolkien</user><w:password type="x">Hidden§</w:password><b token="Hidden§" c="visible"/></a>';

const bodies: [what: string, type: string, body: string | Buffer, shown?: string][] = [
  ["JSON", "application/json", json, "visible"],
  [
    "JSON that is cut off in a secret",
    "application/json",
    json.slice(0, json.indexOf('"X-Auth-Token"') + 25),
    "monkey",
  ],
  ["JSON that is cut off in a secret object", "application/json", json.slice(0, json.indexOf('"deep"') + 25), "monkey"],
  ["JSON that is damaged at its begin", "application/json", `{broken,${json.slice(1)}`, "visible"],
  ["JSON with another type", "text/plain", json, "visible"],
  [
    "a form",
    "application/x-www-form-urlencoded",
    "name=tolkien&password=Hidden§&user[pin]=Hidden§&p%61sswd=Hidden§&last=visible",
    "visible",
  ],
  [
    "a form with JSON in it",
    "application/x-www-form-urlencoded",
    "payload=%7B%22token%22%3A%22Hidden§%22%7D&last=visible",
    "visible",
  ],
  [
    "a form with blanks",
    "application/x-www-form-urlencoded",
    "note=hello world&password=Hidden§,Hidden§\r\n;Hidden§&user%5Bpin%5D=Hidden§ Hidden§&last=visible",
    "visible",
  ],
  [
    "a form with JSON in it, unencoded",
    "application/x-www-form-urlencoded, application/x-www-form-urlencoded",
    'payload={"token":"Hidden§, Hidden§"}&last=visible',
    "visible",
  ],
  ["JSON in UTF-16", "application/json", Buffer.from('{"password":"Hidden10"}', "utf16le")],
  [
    "damaged JSON with many blanks",
    "application/json",
    `{"a":1,,"password"${" ".repeat(20)}:${"\n".repeat(20)}"Hidden§","b":"visible"}`,
    "visible",
  ],
  [
    "damaged JSON with values over several lines",
    "application/json",
    '{"a":1,,"token": [\n"]Hidden§",\n{"b":"Hidden§"}],\n"secret":{\n"c":"Hidden§"},\n"d":"visible","e":"{\\"pin\\":[\\"]\\",\\"Hidden§\\"]}"}',
    "visible",
  ],
  [
    "YAML",
    "text/yaml",
    "password: >-\n  Hidden§\n\n  Hidden§\ntoken:\n  - Hidden§\n- Hidden§\nlast: visible",
    "visible",
  ],
  [
    "a multipart form with a form in it",
    "multipart/form-data; boundary=b",
    "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=b c&password=Hidden§,Hidden§\r\n--b--\r\n",
  ],
  ["a multipart form", "multipart/form-data; boundary=b", multipart, "visible"],
  ["a multipart form that is cut off", "multipart/form-data; boundary=b", multipart.slice(0, -20), "tolkien"],
  ["a multipart form with the type of text", "text/plain", multipart, "visible"],
  ["a multipart form with the type of a form", "application/x-www-form-urlencoded", multipart, "visible"],
  ["a multipart form with the type of bytes", "application/octet-stream", multipart, "visible"],
  ["a multipart form with two types", "multipart/form-data; boundary=b, text/plain", multipart, "visible"],
  ["a multipart form with a wrong boundary", "multipart/form-data; boundary=c", multipart, "visible"],
  [
    "a multipart form in a multipart form",
    "multipart/form-data; boundary=c",
    `--c\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${multipart}\r\n--c--\r\n`,
    "visible",
  ],
  [
    "a multipart form with secrets in the heads of its parts",
    "multipart/form-data; boundary=b",
    '--b\r\nContent-Disposition: form-data; name="a"; filename="eyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln"\r\nX-Auth-Token: Hidden§\r\n\r\nvisible\r\n--b--\r\n',
    "visible",
  ],
  ["compressed, though no header says so", "application/gzip", gzipSync('{"a":1}')],
  [
    "a multipart form with a compressed file",
    "multipart/form-data; boundary=b",
    Buffer.concat([
      Buffer.from('--b\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: application/gzip\r\n\r\n'),
      gzipSync('{"a":1}'),
      Buffer.from("\r\n--b--\r\n"),
    ]),
  ],
  [
    "lines with values of several words",
    "text/plain",
    "passphrase: correct Hidden§ Hidden§\nPASSWORD=a,Hidden§;Hidden§ }Hidden§\n  secret: 'Hidden§ Hidden§'\nlast: visible",
    "visible",
  ],
  [
    "YAML with a mapping",
    "application/yaml",
    "- credentials:\n    user: bob\n    value: Hidden§\n  token: Hidden§\n    Hidden§\n\n  last: visible",
    "visible",
  ],
  [
    "a message of HTTP",
    "message/http",
    "GET / HTTP/1.1\r\nCookie: a=Hidden§; b=Hidden§\r\nAuthorization: Token Hidden§\r\nX-Any: visible",
    "visible",
  ],
  [
    "a log",
    "text/plain",
    "12:00 curl -H 'Authorization: Token Hidden§' -H 'Cookie: a=b; c=Hidden§' visible\n12:01 Cookie: a; b=Hidden§\n",
    "visible",
  ],
  [
    "text of programs",
    "text/plain",
    'x "password"=>"Hidden§", :token=>"Hidden§ Hidden§"; pin := "Hidden§" if secret == "Hidden§"\n' +
      "['passwd' => 'Hidden§', 'last' => 'visible']",
    "visible",
  ],
  [
    "XML with elements and CDATA",
    "application/xml",
    "<a><s:credentials x='1'><b>Hidden§</b><c>Hidden§</c></s:credentials><pin><![CDATA[</x>Hidden§]]></pin><token /><d>visible</d></a>",
    "visible",
  ],
  [
    "text with encoded URLs",
    "text/plain",
    "see https%3A%2F%2Fme%3AHidden§%40a.example%2F%3Ftoken%3DHidden§ or %252F%253Fpin%253DHidden§, %22eyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln visible",
    "visible",
  ],
  [
    "JSON with encoded URLs",
    "application/json",
    '{"url":"/?next=%2Fcb%3Fx%3DeyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln","b":"a%3Fpassword%3DHidden§","c":"visible"}',
    "visible",
  ],
  [
    "damaged JSON with escapes",
    "application/json",
    '{"a":1,,"url":"https:\\/\\/me:Hidden§@db.example\\/x","log":"line\\neyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln \\u003deyJhbGciOiJIUzI1NiJ9.Hidden§.c2ln","b":"visible"}',
    "visible",
  ],
  ["XML in UTF-16", "application/xml", Buffer.from("\ufeff<password>Hidden10</password>", "utf16le")],
  ["XML in UTF-16 without a byte order mark", "application/soap+xml", Buffer.from("<pin>Hidden10</pin>", "utf16le")],
  ["XML", "application/xml", xml, "visible"],
  [
    "text",
    "text/plain",
    "user: tolkien\npassword = Hidden§\ntoken='Hidden§ Hidden§'\nAuthorization: Basic SGlkHidden§==\nlast: visible",
    "visible",
  ],
  [
    "a private key",
    "text/plain",
    "-----BEGIN RSA PRIVATE KEY-----\nHidden§\nHidden§\n-----END RSA PRIVATE KEY-----\nvisible",
    "visible",
  ],
  [
    "bytes",
    "application/octet-stream",
    Buffer.concat([Buffer.of(0xff, 0xfe, 0x80), Buffer.from("token=Hidden01 visible")]),
  ],
  ["a compressed body", "application/json", gzipSync('{"a":1}')],
];

describe("a request in all forms that people look at", () => {
  it.each(bodies)("shows none of its secrets if its body is %s", async (what, type, body, shown) => {
    const encoding = what === "a compressed body" ? ["Content-Encoding", "gzip"] : [];
    const request = numbered(type, body, encoding);
    const outputs = await outputsOf(request);
    expect(Object.keys(outputs)).toHaveLength(8);
    for (const [name, output] of Object.entries(outputs)) {
      for (const text of readings(output)) {
        expect({
          name,
          leaks: text.match(
            /.{0,40}(?:Hidden|HIDDEN)\d.{0,20}|.{30}4111.?1111|.{9}8888.?1881|.{9}5555.{1,3}4444|12345678\d/,
          ),
        }).toEqual({
          name,
          leaks: null,
        });
        expect(text.includes(gzipSync('{"a":1}').toString("latin1"))).toBe(false);
      }
      const together = readings(output).join("\n");
      for (const harmless of ["tolkien", "george", "qwertz", "page=2", ...(shown && name !== "frame" ? [shown] : [])]) {
        // The scripts leave out what they cannot send, such as an incomplete body.
        if (output !== "")
          expect({ name, output: together }).toEqual({ name, output: expect.stringContaining(harmless) });
      }
    }
  });

  it("shows everything if asked to", () => {
    const request = numbered("application/json", json, []);
    const bare = toJsonLine(request, { secrets: true });

    expect(JSON.parse(bare)).toMatchObject({ path: request.path, body: Buffer.from(request.body).toString() });
    expect(toHttpText(request, { secrets: true })).toContain(request.path);
  });

  it("counts bodies that it does not show", () => {
    const request = numbered("text/plain", gzipSync("x"), ["content-encoding", "gzip"]);

    expect(formatRequest(request)).toMatch(
      /\n\n\(body of \d+ bytes not shown: compressed, damaged, or not in UTF-8\)$/,
    );
    expect(toHttpText(request, { secrets: false })).toMatch(/\n\n\(body of \d+ bytes not shown: .*\)\n$/);
    expect(JSON.parse(toJsonLine(request, { secrets: false }))).toMatchObject({ hiddenBody: expect.any(String) });
  });
});

it("shows no beginning of a secret that the end of the shown bytes cuts", () => {
  const start = `token=${"x".repeat(3_900)} card: `;
  const body = Buffer.from(`${start}${" ".repeat(4_000 - start.length - 14)}4111111111111111 visible`);

  expect(formatRequest(expectedRequest({ body }, 0))).not.toContain("41111111");
});

it("shows no body with a transfer coding but chunked", () => {
  const body = Buffer.from('{"a":"visible"}');
  const shown = (coding: string) => formatRequest(expectedRequest({ headers: ["transfer-encoding", coding], body }, 0));

  expect(shown("gzip, chunked")).toContain("bytes not shown");
  expect(shown("chunked")).not.toContain("bytes not shown");
});

describe("text of any kind", () => {
  it.each([
    "GET /a?page=2&sort=key-length HTTP/1.1",
    "Accept: text/html, application/xhtml+xml;q=0.9",
    "the author wrote about a monkey at a keyboard: typing",
    "Date: Tue, 01 Dec 2026 07:28:00 GMT",
    "1764576000000 1764576000000000000 4111111111111112 550e8400-e29b-41d4-a716-446655440000",
    "price 3.4111111111111111, tracking 00340434161094021501",
    "https://shop.example:8080/@user/a?b=c@d",
    "basic knowledge, bearer of news",
  ])("keeps %s", (text) => {
    expect(maskSecretText(text, "…")).toBe(text);
  });

  it.each([
    ["names", "a=".repeat(100_000)],
    ["secret names", "token=".repeat(50_000)],
    ["quotes", `token="${'\\"'.repeat(100_000)}`],
    ["tags", "<token>".repeat(30_000)],
    ["beginnings of tokens", "eyJ".repeat(70_000)],
    ["beginnings of keys", "-----BEGIN PRIVATE KEY-----".repeat(7_000)],
    ["digits", "4".repeat(200_000)],
    ["groups of digits", "4111 ".repeat(40_000)],
    ["URLs", "//a:b".repeat(40_000)],
    ["a long password", `//a:${"b".repeat(200_000)}@host`],
    ["a long port", `//a:${"1".repeat(200_000)}@host`],
    ["slashes", "/".repeat(200_000)],
    ["brackets", "key:[".repeat(40_000)],
    ["tags that do not end", "<token ".repeat(30_000)],
    ["tags before one end", `${"<token ".repeat(30_000)}></`],
    ["escapes", "%25".repeat(60_000)],
    ["encoded signs", "%3D%61".repeat(30_000)],
    ["lines", "token:a\n ".repeat(20_000)],
    ["dashes", "- ".repeat(100_000)],
    ["blanks", `token:${" ".repeat(200_000)}`],
  ])("takes time in proportion to its length: %s", (_, text) => {
    const timeOf = (part: string) => {
      const startMs = performance.now();
      maskSecretText(part, "…");
      return performance.now() - startMs;
    };
    timeOf(text.slice(0, 10_000));

    // 200,000 characters: a quadratic search takes minutes.
    expect(timeOf(text)).toBeLessThan(3_000);
  });
});

let counter = 10;

function fill(text: string): string {
  return text.replaceAll("§", () => `${(counter++ % 90) + 10}`.slice(0, 2));
}

function numbered(type: string, body: string | Buffer, more: readonly string[]): CapturedRequest {
  const typed = [...headers, ...more].map((part, i, all) => (all[i - 1] === "Content-Type" ? type : fill(part)));
  return expectedRequest(
    {
      path: fill(path),
      headers: typed,
      body: typeof body === "string" ? Buffer.from(fill(body)) : body,
      primary: { status: 302, headers: answer.map(fill) },
    },
    0,
  );
}

async function outputsOf(request: CapturedRequest): Promise<Record<string, string>> {
  const outputs: Record<string, string> = {
    "captures cat": toHttpText(request, { secrets: false }),
    "captures cat --format json": toJsonLine(request, { secrets: false }),
    "agent --dump, dlq show": formatRequest(request),
  };
  for (const format of exportFormats) {
    let text = "";
    const requests = (async function* () {
      yield request;
    })();
    let skipped = false;
    for await (const piece of exportRequests(format, requests, {
      redact: true,
      onSkipped: () => {
        skipped = true;
      },
    }))
      text += piece.toString();
    outputs[`export --format ${format}`] = skipped ? "" : text;
  }
  const [args, texts] = [headersBinary([...request.headers]), headersText([...(request.primary?.headers ?? [])])];
  const question = request.path.indexOf("?");
  const frame = notify({
    streamId: 1,
    messages: [
      {
        args: [
          ["pathq", str(request.path)],
          ["query", str(request.path.slice(question + 1))],
          ["url", str(`https://shop.example${request.path}`)],
          ["hdrs", bin(args)],
          ["res_hdrs", str(texts)],
          ["body", str(Buffer.from(request.body).toString("latin1"))],
          ["note", str("tolkien george qwertz page=2")],
        ],
      },
    ],
  });
  outputs.frame = formatFrame(frame, 4, frame.length);
  return outputs;
}

/** The text as it is, and as programs would decode it. */
function readings(output: string): string[] {
  const decoded = output.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const twice = decoded.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const unescaped = output.replace(/\\u([0-9A-Fa-f]{4})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const base64 = [...output.matchAll(/[A-Za-z0-9+/]{12,}={0,2}/g)].map(([text]) =>
    Buffer.from(text, "base64").toString("latin1"),
  );
  const narrow = [output, unescaped, ...base64].map((text) => text.replaceAll("\0", ""));
  return [output, decoded, twice, unescaped, unescaped.replaceAll("\\", ""), ...base64, ...narrow];
}
