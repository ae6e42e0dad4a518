import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRedactor } from "../../../agent/intake/redactor.ts";
import { createLedger } from "../../../agent/ledger.ts";
import type { RedactConfig } from "../../../relay/config/config.ts";
import { type CapturedRequest, headerOf } from "../../../relay/pack/captured-request.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodePack } from "../../../relay/pack/pack.ts";
import { PackWriter } from "../../../relay/pack/writer.ts";
import { parseJsonPath } from "../../../relay/redaction/json-keys.ts";
import { isBodyIncomplete } from "../../../relay/replay/outbound.ts";
import { type RequestParts, requestDraft } from "../../support/data/captured-requests.ts";
import { noRedaction } from "../../support/data/redact-configs.ts";

const secret = "hunter2SECRET";

interface Rules extends Partial<Omit<RedactConfig, "json">> {
  readonly json?: readonly string[];
}

interface Redacted extends CapturedRequest {
  readonly omitted: Record<string, number>;
  readonly logged: number;
  /** Everything that is stored, one character per byte. */
  readonly stored: string;
}

function redact(rules: Rules, parts: Partial<RequestParts>): Redacted {
  const json = (rules.json ?? []).map((path) => parseJsonPath(path) ?? []);
  const ledger = createLedger();
  let logged = 0;
  const log = {
    warn: () => {
      logged++;
    },
  };
  const redactor = createRedactor({ ...noRedaction, ...rules, json }, ledger, log);
  const draft = requestDraft(parts);
  const headers = parts.headers ?? [];
  redactor?.redact(draft, {
    contentLength: Number(headerOf(headers, "content-length") ?? -1),
    transferEncoding: headerOf(headers, "transfer-encoding") !== undefined,
  });
  const writer = new PackWriter(Buffer.alloc(4_000_000), { id: Buffer.alloc(16), agent: "a", sequence: 1 });
  expect(writer.append(draft)).toBe(true);
  const content = writer.finish();
  const pack = decodePack(content);
  if (pack instanceof DecodeError) throw pack;
  const omitted = Object.fromEntries(ledger.omittedBodies);
  return { ...pack.requests[0], omitted, logged, stored: content.toString("latin1") };
}

function textOf({ body }: CapturedRequest): string {
  return Buffer.from(body).toString();
}

describe("query parameters", () => {
  it.each([
    ["/a?token=§&b=c", "/a?token=redacted&b=c"],
    ["/a?b=c;token=§", "/a?b=c;token=redacted"],
    ["/a?token=§;T&b=c", "/a?token=redacted&b=c"],
    ["/a?TOKEN=§&token=§&Token=", "/a?TOKEN=redacted&token=redacted&Token=redacted"],
    ["/a?t%6fken=§&to%6Ben=§", "/a?t%6fken=redacted&to%6Ben=redacted"],
    ["/a?user[token]=§&token[]=§", "/a?user[token]=redacted&token[]=redacted"],
    ["/a?user%5Btoken%5D=§", "/a?user%5Btoken%5D=redacted"],
    ["/a;token=§/b;c=d?e", "/a;token=redacted/b;c=d?e"],
    ["/a?next=/b?token=§", "/a?next=/b?token=redacted"],
    ["/a?next=%2Fb%3Ftoken%3DS%26c%3Dd", "/a?next=/b%3Ftoken%3Dredacted%26c%3Dd"],
    ["/a?n=%252Fb%253Ftoken%253DS", "/a?n=/b%253Ftoken%253Dredacted"],
    ["/a?%74oken%3DS", "/a?token%3Dredacted"],
    ["/a?+token+=§", "/a?+token+=redacted"],
    ["/a#token=§", "/a#token=redacted"],
    ["/token/b?tokens=x&btoken=y&token", "/token/b?tokens=x&btoken=y&token"],
    ["/?x-my-key=§&my-key=z", "/?x-my-key=redacted&my-key=z"],
    ["/gr\xc3\xbc\xff?token=§&b=\xe9", "/gr\xc3\xbc\xff?token=redacted&b=\xe9"],
  ])("of %s are masked by name", (path, expected) => {
    const { path: masked, stored } = redact({ query: ["token", "x-*-key"] }, { path: path.replaceAll("§", secret) });

    expect(decodeURIComponent(masked)).toBe(decodeURIComponent(expected));
    expect(stored).not.toContain(secret);
  });

  it("of a URL that is encoded again and again are masked", () => {
    let value = `/?token=${secret}`;
    for (let i = 0; i < 10; i++) {
      value = `/?next=${encodeURIComponent(value)}`;
      let { path } = redact({ query: ["token"] }, { path: value });
      for (let j = 0; j < 12; j++) path = decodeURIComponent(path);
      expect(path).not.toContain(secret);
    }
  });

  it("are masked in URLs in headers, of the request and of the response", () => {
    const headers = [
      ...["Referer", `https://shop.example/a?b=c&token=${secret}#d`, "X-Original-URL", `/a?token=${secret}`],
      ...["Link", `<https://x/?token=${secret}>; rel=next, </y?token=${secret}>`, "Accept", "text/*;q=0.5"],
    ];
    const answer = [
      "Location",
      `https://app.example/cb#token=${secret}&state=1`,
      "Refresh",
      `0; url=/?token=${secret}`,
    ];

    const masked = redact({ query: ["token"] }, { headers, primary: { status: 302, headers: answer } });

    expect(masked.headers).toEqual([
      ...["Referer", "https://shop.example/a?b=c&token=redacted", "X-Original-URL", "/a?token=redacted"],
      ...["Link", "<https://x/?token=redacted>; rel=next, </y?token=redacted>", "Accept", "text/*;q=0.5"],
    ]);
    expect(masked.primary?.headers).toEqual([
      ...["Location", "https://app.example/cb#token=redacted&state=1", "Refresh", "0; url=/?token=redacted"],
    ]);
  });
});

describe("a URL in a header", () => {
  it.each([
    ["https://x/?token=a'§&b=1", "https://x/?token=redacted&b=1"],
    ['https://x/?token=a"§&b=1', "https://x/?token=redacted&b=1"],
    ["https://x/?token=a\0§&b=1", "https://x/?token=redacted&b=1"],
    ["https://x/?token=a<§>§&b=1", "https://x/?token=redacted&b=1"],
    ["https://x/o'hara?token=a'§", "https://x/o'hara?token=redacted"],
    ["https://x/?a='1&token=a'§", "https://x/?a='1&token=redacted"],
    ["it's <https://x/?token=a'§>; b", "it's <https://x/?token=redacted>; b"],
    ["0; url='https://x/?token=§'; b", "0; url='https://x/?token=redacted'; b"],
    ['{"a":"/?token=§","b":"/?token=§","c":1}', '{"a":"/?token=redacted","b":"/?token=redacted","c":1}'],
    ["a?b 'c' /?token=§ d", "a?b 'c' /?token=redacted d"],
  ])("has %s masked up to what ends it", (value, expected) => {
    const masked = redact({ query: ["token"] }, { headers: ["X-Url", value.replaceAll("§", secret)] });

    expect(masked.headers[1]).toBe(expected);
  });
});

describe("a parameter of a URL in a header", () => {
  it.each([
    ["Location", "http://shop.example/cart;jsessionid=§", "http://shop.example/cart;jsessionid=redacted"],
    ["Location", "/cart;v=1;jsessionid=§", "/cart;v=1;jsessionid=redacted"],
    ["Refresh", "0;url=/cart;jsessionid=§", "0;url=/cart;jsessionid=redacted"],
    ["Link", "</a>; rel=next, </b;jsessionid=§>", "</a>; rel=next, </b;jsessionid=redacted>"],
    ["X-Url", "%2Fcb%3ftoken%3D§", "/cb%3Ftoken%3Dredacted"],
    ["X-Url", "%2Fcb%23token%3D§", "/cb%23token%3Dredacted"],
    ["Cookie", "a=1; next=%252Fcb%253Ftoken%253D§; b=2", "a=1; next=/cb%253Ftoken%253Dredacted; b=2"],
  ])("is masked in %s: %s", (name, value, expected) => {
    const rules = { query: ["token", "jsessionid"] };
    const headers = [name, value.replaceAll("§", secret)];
    const { primary, ...request } = redact(rules, { headers, primary: { status: 302, headers } });

    expect(request.stored).not.toContain(secret);
    expect(request.headers[1]).toBe(expected);
    expect(primary?.headers?.[1]).toBe(expected);
  });

  it.each([
    ["Accept", "text/html;q=0.9, */*;q=0.8"],
    ["Accept", "text/html ;q=0.9"],
    ["User-Agent", "a/1.0 (b; q=1)"],
    ["Cookie", "next=/a; q=1"],
    ["Set-Cookie", "a=1; Path=/; q=1"],
    ["Host", "shop.example?q=1"],
    ["Transfer-Encoding", "chunked;a=/b?q=1"],
    ["Content-Type", "multipart/form-data; boundary=a?q=1"],
    ["Content-Type", "multipart/form-data; boundary=/a;q=1"],
  ])("is none of the parameters of %s: %s", (name, value) => {
    expect(redact({ query: ["q"] }, { headers: [name, value] }).headers).toEqual([name, value]);
  });

  it("is looked for in time that grows with the header only", () => {
    const startMs = performance.now();
    for (const part of ["=/", ":/", "%25", "/=;", "?;"]) {
      redact({ query: ["token"] }, { headers: ["X-Url", `${part.repeat(300_000)} ;`] });
    }

    expect(performance.now() - startMs).toBeLessThan(3_000);
  });
});

describe("headers and cookies", () => {
  it("are masked if the name of a cookie is a part in brackets, as PHP reads it", () => {
    const cookie = "session[a]=§; b%5Bsession%5D=§; c=1".replaceAll("§", secret);
    const { headers } = redact({ cookies: ["session"] }, { headers: ["Cookie", cookie] });

    expect(headers[1]).toBe("session[a]=redacted; b%5Bsession%5D=redacted; c=1");
  });

  it("are masked by name or pattern, in request and response", () => {
    const headers = ["X-Shop-Token", secret, "x-token", "b", "Host", "h", "authorization", ` ${secret}`];
    const masked = redact({ headers: ["x-*-token", "Authorization"] }, { headers, primary: { headers } });

    expect(masked.headers).toEqual([
      ...["X-Shop-Token", "redacted", "x-token", "b", "Host", "h", "authorization", "redacted"],
    ]);
    expect(masked.primary?.headers).toEqual(masked.headers);
  });

  it.each([
    ["a=1; sid=§; b=2", "a=1; sid=redacted; b=2"],
    ["SID=§;sid=§,x; sid2=c", "SID=redacted;sid=redacted; sid2=c"],
    ['a=1; sid="§; §"; b=2', "a=1; sid=redacted; b=2"],
    ["a=1, sid=§; b=2", "a=1, sid=redacted; b=2"],
    ['a="x; sid=§"', 'a="x; sid=redacted'],
    ["s%69d=§", "s%69d=redacted"],
    ["sid =§", "sid =redacted"],
    ["sid= §", "sid= redacted"],
    ['sid="§; b=2', "sid=redacted; b=2"],
    ["sid", "sid"],
    [String.raw`sid="a\"b;§"; b=2`, "sid=redacted; b=2"],
    [String.raw`sid="a\\"; b=2`, "sid=redacted; b=2"],
  ])("masks single cookies in %s", (cookie, expected) => {
    const { headers, stored } = redact({ cookies: ["sid"] }, { headers: ["Cookie", cookie.replaceAll("§", secret)] });

    expect(headers[1]).toBe(expected);
    expect(stored).not.toContain(secret);
  });

  it("masks single cookies that the response sets, and keeps their attributes", () => {
    const headers = [
      ...["Set-Cookie", `path=${secret}; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT`],
      ...["set-cookie", `a=b; Path=/, path=${secret}; HttpOnly`],
    ];

    expect(redact({ cookies: ["p*"] }, { primary: { headers } }).primary?.headers).toEqual([
      ...["Set-Cookie", "path=redacted; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT"],
      // The second may be an attribute: it is kept.
      ...["set-cookie", `a=b; Path=/, path=${secret}; HttpOnly`],
    ]);
  });

  it.each(["Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/", "Path=/; expires=Wed, 21-Oct-26 07:28:00 GMT"])(
    "keeps the date in %s if every cookie is masked",
    (attributes) => {
      const headers = [
        "Set-Cookie",
        `a=${secret}; ${attributes}, b=${secret}`,
        "Set-Cookie",
        `a=b; Expires=0, c=${secret}`,
      ];

      expect(redact({ cookies: ["*"] }, { primary: { headers } }).primary?.headers).toEqual([
        ...["Set-Cookie", `a=redacted; ${attributes}, b=redacted`, "Set-Cookie", "a=redacted; Expires=0, c=redacted"],
      ]);
    },
  );

  it("that frame the request are kept, whatever the pattern", () => {
    const framing = ["Host", "h", "content-type", "a/b", "Content-Length", "0", "TRANSFER-ENCODING", "chunked"];
    const masked = redact({ headers: ["*", "host", "content-*"] }, { headers: [...framing, "Content-Language", "de"] });

    expect(masked.headers).toEqual([...framing, "Content-Language", "redacted"]);
  });

  it.each([5_000, 1])("fit if masks are longer than %s values", (count) => {
    const headers = Array.from({ length: count }, () => ["a", ""]).flat();

    expect(redact({ headers: ["a"] }, { headers }).headers).toEqual(headers.map((part) => part || "redacted"));
  });
});

describe("forms", () => {
  const type = ["Content-Type", "application/x-www-form-urlencoded"];

  it.each([
    ["user=a&password=§&b=1", "user=a&password=redacted&b=1"],
    ["pa%73sword=§", "pa%73sword=redacted"],
    ["password=§;T#U?V+W&b=1", "password=redacted&b=1"],
    ["password=a&PASSWORD=§&user[password]=§", "password=redacted&PASSWORD=redacted&user[password]=redacted"],
    ["passw%C3%B6rt=§", "passw%C3%B6rt=redacted"],
    ["a=1", "a=1"],
  ])("have the fields of %s masked", (body, expected) => {
    const parts = { headers: [...type, "Content-Length", "999"], body: Buffer.from(body.replaceAll("§", secret)) };
    const masked = redact({ form: ["password", "passwört"] }, parts);

    expect(textOf(masked)).toBe(expected);
    expect(masked.bodyState).toBe("complete");
    if (expected !== body) expect(headerOf(masked.headers, "content-length")).toBe(`${expected.length}`);
    expect(masked.stored).not.toContain(secret);
  });

  it.each([
    ["Content-MD5", "Digest", "content-digest", "Repr-Digest", "X-Amz-Content-Sha256", "x-amz-checksum-sha256"],
    ["x-ms-content-sha256", "x-ms-content-crc64", "X-Goog-Hash", "X-Checksum-Sha1", "x-amz-checksum-crc32c"],
  ])("lose the digest %s if they are changed", (...digests) => {
    const headers = [...type, ...digests.flatMap((name) => [name, "abc"]), "X-Trace", "1"];
    const changed = redact({ form: ["password"] }, { headers, body: Buffer.from("password=12345678") });
    const kept = redact({ form: ["password"] }, { headers, body: Buffer.from("user=a") });

    expect(changed.headers).toEqual([...type, "X-Trace", "1"]);
    expect(kept.headers).toEqual(headers);
  });

  it("have their parts masked if they are multipart", () => {
    const part = (head: string, content: string) =>
      `--b1\r\nContent-Disposition: form-data; ${head}\r\n\r\n${content}\r\n`;
    const toBody = (...values: string[]) =>
      Buffer.from(
        `${part('name="user"', "a")}${part('name="password"', values[0])}${part('name="f"; filename="x.json"', values[1])}--b1--\r\n`,
      );
    const headers = ["content-type", 'multipart/form-data; boundary="b1"'];

    const masked = redact(
      { form: ["password"], json: ["**.token"] },
      { headers, body: toBody(secret, `{"token":"${secret}"}`) },
    );

    expect(textOf(masked)).toBe(toBody("redacted", '{"token":"redacted"}').toString());
  });

  it.each([
    ["a byte order mark", "", '\ufeff{"token":"§","a":1}', '\ufeff{"token":"redacted","a":1}'],
    ["blanks", "", `${" ".repeat(2_000)}{"token":"§"}`, `${" ".repeat(2_000)}{"token":"redacted"}`],
    ["NDJSON", "", '1\n"a"\r\n{"token":"§"}', '1\n"a"\r\n{"token":"redacted"}'],
    ["a form", "\r\nContent-Type: application/x-www-form-urlencoded", "a=1&password=§", "a=1&password=redacted"],
    ["a form without a type", "", "password=§&a=1", "password=redacted&a=1"],
    ["JSON in a form", "", 'a={"token":"§"}', "a=%7B%22token%22:%22redacted%22%7D"],
    ["bytes", "\r\ncontent-type: image/png", "password=x", "password=x"],
  ])("have %s in a part masked", (_, head, content, expected) => {
    const toBody = (value: string) =>
      `--b\r\nContent-Disposition: form-data; name=a${head}\r\n\r\n${value}\r\n--b--\r\n`;
    const parts = {
      headers: ["content-type", "multipart/form-data; boundary=b"],
      body: Buffer.from(toBody(content.replace("§", secret))),
    };

    expect(textOf(redact({ form: ["password"], json: ["**.token"] }, parts))).toBe(toBody(expected));
  });

  it.each([
    ["compressed", "Content-Encoding: gzip"],
    ["in UTF-16", "Content-Type: text/plain; charset=utf-16"],
    ["multipart", "Content-Type: multipart/mixed; boundary=c"],
    ["of two types", "Content-Type: text/plain\r\nContent-Type: image/png"],
    ["said to be JSON", "Content-Type: application/json"],
  ])("are left out if a part is %s", (_, head) => {
    const body = Buffer.from(`--b\r\nContent-Disposition: form-data; name=a\r\n${head}\r\n\r\n${secret}\r\n--b--\r\n`);
    const masked = redact(
      { form: ["password"], json: ["**.token"] },
      { headers: ["content-type", "multipart/form-data; boundary=b"], body },
    );

    expect(masked).toMatchObject({ omitted: { damaged: 1 } });
    expect(masked.stored).not.toContain(secret);
  });

  it.each([
    "boundary=b; boundary=c",
    'boundary="b"; BOUNDARY = c',
    "boundary=b; boundary*0=c",
    'a="; boundary=c"; boundary=b',
  ])("are left out if they have %s", (parameters) => {
    const body = `--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--c\r\nContent-Disposition: form-data; name=password\r\n\r\n${secret}\r\n--c--\r\n--b--\r\n`;
    const parts = { headers: ["content-type", `multipart/form-data; ${parameters}`], body: Buffer.from(body) };

    expect(redact({ form: ["password"] }, parts)).toMatchObject({ omitted: { damaged: 1 } });
  });

  it.each([
    ['payload={"password":"§","a":"b"}&c=d', '{"password":"redacted","a":"b"}'],
    ["payload=%7B%22password%22%3A%22§%22%7D&c=d", '{"password":"redacted"}'],
    ["payload=%5B1,%7B%22password%22:%22§%22%7D%5D&c=d", '[1,{"password":"redacted"}]'],
    ['payload={"password":"§&c=d', "redacted"],
    ["payload=[§]&c=d", "redacted"],
    ["payload=[1]&c=d", "[1]"],
  ])("have the JSON in %s masked", (body, expected) => {
    const parts = { headers: type, body: Buffer.from(body.replaceAll("§", secret)) };
    const masked = redact({ json: ["**.password"] }, parts);

    const fields = new URLSearchParams(textOf(masked));
    expect([...fields]).toEqual([
      ["payload", expected],
      ["c", "d"],
    ]);
  });

  it.each(["a;b", "a?b", "a#b", "a;?#b"])("have unencoded JSON masked if it has a string such as %j", (text) => {
    const body = (token: string) => `a=1&payload={"text":"${text}","token":"${token}"}&c=d`;
    const parts = { headers: type, body: Buffer.from(body(secret)) };
    const masked = textOf(redact({ form: ["password"], json: ["**.token"] }, parts));

    expect([...new URLSearchParams(masked)]).toEqual([...new URLSearchParams(body("redacted"))]);
  });

  it.each([
    ["text/plain", 'ids=[1,2]\r\nuser={"token":"§"}\r\nnote=hello\r\n'],
    ["text/csv", 'id;tags;by\n1;[1];joe\n2;{"token":"§"};ann\n'],
  ])("of type %s keep what is behind whole JSON", (contentType, body) => {
    const parts = { headers: ["Content-Type", contentType], body: Buffer.from(body.replace("§", secret)) };
    const masked = redact({ json: ["**.token"] }, parts);

    expect(decodeURIComponent(textOf(masked))).toBe(body.replace("§", "redacted"));
  });

  it("have JSON with an unencoded & masked up to the next parameter", () => {
    const body = `payload={"text":"a & b&c","token":"${secret}==&"}&c[d]=e&f=[1,`;
    const masked = redact({ json: ["**.token"] }, { headers: type, body: Buffer.from(body) });

    expect(textOf(masked)).toBe("payload=redacted&c[d]=e&f=redacted");
  });

  it("keep JSON without secrets as it is written", () => {
    const body = 'a={"b":"c;d?e"}&f=%5b1%5d&g=[1]\r\n&h=2';
    const masked = redact({ json: ["**.token"] }, { headers: type, body: Buffer.from(body) });

    expect(textOf(masked)).toBe(body);
  });

  it.each(["a={", "a={&", "[", "{;", "a={&b", "a=[1;"])("take time in proportion to their length: %s", (part) => {
    const startMs = performance.now();
    redact({ json: ["**.token"] }, { headers: type, body: Buffer.from(part.repeat(300_000 / part.length)) });

    expect(performance.now() - startMs).toBeLessThan(3_000);
  });

  it.each([
    ["no end", '--b1\r\nContent-Disposition: form-data; name="password"\r\n\r\nS\r\n'],
    ["line feeds alone", '--b1\nContent-Disposition: form-data; name="password"\n\nS\n--b1--'],
    ["another boundary", '--b2\r\nContent-Disposition: form-data; name="password"\r\n\r\nS\r\n--b2--\r\n'],
    ["an encoded name", "--b1\r\nContent-Disposition: form-data; name*=utf-8''p%61ssword\r\n\r\nS\r\n--b1--\r\n"],
    ["two names", '--b1\r\nContent-Disposition: form-data; name="a"; name="password"\r\n\r\nS\r\n--b1--\r\n'],
    ["a folded line", '--b1\r\nContent-Disposition: form-data;\r\n name="password"\r\n\r\nS\r\n--b1--\r\n'],
    ["single quotes", "--b1\r\nContent-Disposition: form-data; name='password'\r\n\r\nS\r\n--b1--\r\n"],
    ["text behind a name", '--b1\r\nContent-Disposition: form-data; name="pass"word\r\n\r\nS\r\n--b1--\r\n'],
    [
      "multipart in a part",
      '--b1\r\nContent-Disposition: form-data; name=a\r\n\r\n--c\r\nContent-Disposition: form-data; name="password"\r\n\r\nS\r\n--c--\r\n--b1--\r\n',
    ],
    [
      "a part that hides in another",
      '--b1\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\n--b1\nContent-Disposition: form-data; name="password"\n\nS\r\n--b1--\r\n',
    ],
    [
      "an encoded part",
      '--b1\r\nContent-Disposition: form-data; name="x"\r\nContent-Transfer-Encoding: base64\r\n\r\nS\r\n--b1--\r\n',
    ],
  ])("are left out if they are multipart with %s", (_, body) => {
    const headers = ["content-type", "multipart/form-data; boundary=b1", "content-length", "99"];
    const masked = redact({ form: ["password"] }, { headers, body: Buffer.from(body.replace("§", secret)) });

    expect(masked).toMatchObject({ bodyState: "omitted", omitted: { damaged: 1 }, logged: 1 });
    expect(masked.stored).not.toContain(secret);
  });
});

// A document as a tree, so that it can have equal keys, and its text with escapes and blanks.
type Tree =
  | string
  | number
  | boolean
  | null
  | readonly Tree[]
  | { readonly entries: readonly (readonly [string, Tree])[] };

const keys = fc.constantFrom("user", "password", "Password", "token", "a", "x-key", "é", 'q"\\', "");
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
    ),
    fc.array(tie("tree"), { maxLength: 3 }),
    fc.array(fc.tuple(keys, tie("tree")), { maxLength: 4 }).map((entries) => ({ entries })),
  ),
}));

function writeTree(value: Tree, next: () => number): string {
  const blank = () => ["", "", " ", "\n\t "][next() % 4];
  const text = (each: string) =>
    `"${[...each].map((character) => (next() % 3 === 0 ? escapeAll(character) : JSON.stringify(character).slice(1, -1))).join("")}"`;
  const write = (each: Tree): string => {
    if (typeof each === "string") return text(each);
    if (each === null || typeof each !== "object") return JSON.stringify(each);
    if (Array.isArray(each)) return `[${blank()}${each.map((item) => write(item) + blank()).join(`,${blank()}`)}]`;
    const { entries } = each as { readonly entries: readonly (readonly [string, Tree])[] };
    return `{${blank()}${entries.map(([key, item]) => `${text(key)}${blank()}:${blank()}${write(item)}`).join(`${blank()},${blank()}`)}${blank()}}`;
  };
  return `${blank()}${write(value)}${blank()}`;
}

function escapeAll(character: string): string {
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`,
  ).join("");
}

const paths = ["$.user.password", "**.token", "$.*.a", "**.user.**.x-*", "$.é"];

/** The model: regular expressions over the whole path of a value, while the agent walks along with all paths at once. */
const models = [
  /^\/user\/password$/i,
  /^(?:\/[^/]*)*\/token$/i,
  /^\/[^/]*\/a$/i,
  /^(?:\/[^/]*)*\/user(?:\/[^/]*)*\/x-[^/]*$/i,
  /^\/é$/,
];

function maskTree(value: Tree, path = ""): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => maskTree(item, path));
  const { entries } = value as { readonly entries: readonly (readonly [string, Tree])[] };
  return {
    entries: entries.map(([key, item]) => {
      const place = `${path}/${key}`;
      return [key, models.some((model) => model.test(place)) ? "redacted" : maskTree(item, place)];
    }),
  };
}

describe("JSON", () => {
  const headers = ["content-type", "application/json"];

  it("has exactly the values at the paths masked, whatever its escapes, blanks, lists and repeated keys", () => {
    const seeds = fc.array(fc.nat(1_000), { minLength: 20, maxLength: 20 });
    fc.assert(
      fc.property(tree, seeds, (document, seed) => {
        let at = 0;
        const next = () => seed[at++ % seed.length];
        const body = Buffer.from(writeTree(document, next));
        const masked = redact({ json: paths }, { headers, body });

        expect(masked.omitted).toEqual({});
        expect(readTree(textOf(masked))).toEqual(normal(maskTree(document)));
      }),
      { numRuns: 150 },
    );
  });

  it("has a key of any letters found, also if only some of them are escaped", () => {
    for (const key of ["schlüssel", "schlü\\u0073sel", "schl\\u00fcssel"]) {
      const body = Buffer.from(`{"a":{"${key}":"${secret}"}}`);
      expect(redact({ json: ["$.a.schlüssel"] }, { headers, body }).stored).not.toContain(secret);
    }
  });

  it("is left out if it is damaged or cut off anywhere", () => {
    const whole = `{"a":[1,{"b":"x\\"y"}],"user":{"password":"${secret}"},"token":{"c":["${secret}"]},"d":null}`;
    for (let bytes = 1; bytes < whole.length; bytes++) {
      const lengths = ["content-length", "99"];
      const cut = { headers: [...headers, ...lengths], body: Buffer.from(whole.slice(0, bytes)) };
      expect(redact({ json: paths }, cut)).toMatchObject({ bodyState: "omitted", omitted: { damaged: 1 } });
      expect(redact({ json: paths }, { ...cut, bodyState: "truncated" })).toMatchObject({ omitted: { truncated: 1 } });
      const damaged = Buffer.from(whole);
      damaged[bytes] ^= 0x15;
      expect(redact({ json: ["**.password", "**.token"] }, { headers, body: damaged }).stored).not.toMatch(
        /"(?:password|token)":.{0,9}hunter2/,
      );
    }
  });

  it.each([
    ["comments", '{"token":/**/"S"}'],
    ["single quotes", "{'token':'S'}"],
    ["keys without quotes", '{token:"S"}'],
    ["a comma at the end", '{"token":"S",}'],
    ["a control character in a string", '{"a":"\n","token":"S"}'],
    ["a wrong escape", '{"a":"\\x","token":"S"}'],
    ["a number of JavaScript", '{"a":0x10,"token":"S"}'],
    ["NaN", '{"a":NaN,"token":"S"}'],
    ["a prefix", ')]}\',\n{"token":"S"}'],
    ["words", "S"],
  ])("is left out if it has %s", (_, body) => {
    const parts = { headers, body: Buffer.from(body.replaceAll("S", secret), "latin1") };
    const masked = redact({ json: ["**.token"] }, parts);

    // Without a length, `omitted` would mean that there may have been none.
    expect(masked).toMatchObject({ bodyState: "truncated", omitted: { damaged: 1 } });
    expect(masked.body).toHaveLength(0);
    expect(masked.stored).not.toContain(secret);
  });

  it.each([
    ["no type", []],
    ["the type of a form", ["content-type", "application/x-www-form-urlencoded"]],
    ["a type of text", ["content-type", "text/plain; charset=UTF-8"]],
    ["a type of its own", ["content-type", "application/vnd.shop+json"]],
    ["the type of an image", ["content-type", "image/png"]],
  ])("is recognised with %s", (_, typed) => {
    const body = Buffer.from(`\r\n {"token":"${secret}"}`);

    expect(textOf(redact({ json: ["**.token"] }, { headers: typed, body }))).toBe('\r\n {"token":"redacted"}');
  });

  it("may be several documents, as in NDJSON, and begin with a byte order mark", () => {
    const body = Buffer.from(`\ufeff{"token":"${secret}"}\n{"token":1}\n[{"token":null}]\n`);
    const expected = '\ufeff{"token":"redacted"}\n{"token":"redacted"}\n[{"token":"redacted"}]\n';

    expect(textOf(redact({ json: ["**.token"] }, { headers: ["content-type", "application/x-ndjson"], body }))).toBe(
      expected,
    );
  });

  it.each([
    ["100,000 lists", "[".repeat(100_000) + "]".repeat(100_000)],
    ["100,000 objects", `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`],
    ["100,000 lists that do not end", "[".repeat(100_000)],
    ["200,000 keys", `{${'"token":1,'.repeat(90_000)}"a":1}`],
    ["a string of quotes", `"${'\\"'.repeat(400_000)}"`],
  ])("of %s takes little time", (_, text) => {
    const startMs = performance.now();

    redact({ json: [...paths, "$.**.b.**.c"] }, { headers, body: Buffer.from(text) });

    expect(performance.now() - startMs).toBeLessThan(3_000);
  });
});

describe("a body that cannot be read", () => {
  const body = Buffer.from(`token=${secret}`);
  const rules = { json: ["**.token"], form: ["token"] };
  const form = "application/x-www-form-urlencoded";

  it.each([
    ["encoded", ["content-encoding", "gzip", "content-length", "5"], {}],
    ["encoded", ["content-encoding", "identity, br", "content-length", "5"], {}],
    ["encoded", ["transfer-encoding", "gzip, chunked"], {}],
    ["encoded", ["content-type", "text/plain; charset=utf-16", "content-length", "5"], {}],
    [
      "encoded",
      ["content-type", "application/json", "content-length", "5"],
      { body: Buffer.from(`{"token":"${secret}"}`, "utf16le") },
    ],
    ["encoded", ["content-type", "text/plain; charset=utf-8; charset=utf-16", "content-length", "5"], {}],
    ["ambiguous", ["content-type", `${form}, ${form}`, "content-length", "5"], {}],
    ["ambiguous", ["content-type", `"${form}"`, "content-length", "5"], {}],
    ["ambiguous", ["content-type", "*/*", "content-length", "5"], {}],
    ["ambiguous", ["content-type", ";text/plain", "content-length", "5"], {}],
    ["ambiguous", ["content-type", "x-www-form-urlencoded", "content-length", "5"], {}],
    ["ambiguous", ["content-type", `${form};${" ".repeat(1_000)}charset=utf-16`, "content-length", "5"], {}],
    ["ambiguous", ["content-type", "text/plain", "Content-Type", "image/png", "content-length", "5"], {}],
    ["truncated", ["content-length", "5"], { bodyState: "truncated" } as const],
    ["large", ["transfer-encoding", "chunked"], { body: Buffer.alloc(1024 * 1024 + 1, "a") }],
  ])("because it is %s is left out: %j", (reason, headers, parts) => {
    const masked = redact(rules, { body, headers, ...parts });

    expect(masked).toMatchObject({ bodyState: "omitted", omitted: { [reason]: 1 }, logged: 1 });
    expect(masked.body).toHaveLength(0);
    expect(masked.headers).toEqual(headers);
    expect(isBodyIncomplete(masked)).toBe(true);
  });

  it.each(["", "text/plain", form, "application/octet-stream", "application/xml"])(
    "because it is multipart, but has the type %j, is left out",
    (type) => {
      const part = `--b\r\nX-Any: 1\r\ncontent-disposition: form-data; name="token"\r\n\r\n${secret}\r\n--b--\r\n`;
      const headers = ["content-length", "5", ...(type ? ["content-type", type] : [])];
      const masked = redact(rules, { body: Buffer.from(part), headers });

      expect(masked).toMatchObject({ bodyState: "omitted", omitted: { ambiguous: 1 } });
      expect(masked.stored).not.toContain(secret);
    },
  );

  it.each([
    ["gzip", gzipSync(body)],
    ["zlib", deflateSync(body)],
    ["zstd", zstdCompressSync(body)],
  ])("because it is compressed with %s, though no header says so, is left out", (_, compressed) => {
    const form = ["content-type", "application/x-www-form-urlencoded", "content-length", "5"];
    const archive = ["content-type", "application/gzip"];

    expect(redact(rules, { body: compressed, headers: form })).toMatchObject({ omitted: { encoded: 1 } });
    expect(redact(rules, { body: compressed, headers: ["content-length", "5"] })).toMatchObject({
      omitted: { encoded: 1 },
    });
    expect(redact(rules, { body: compressed, headers: archive })).toMatchObject({ omitted: {}, body: compressed });
  });

  it("because it is zlib of any level and window is left out", () => {
    const texts = fc.string({ unit: "binary", maxLength: 200 });
    const options = fc.record({ level: fc.integer({ min: 0, max: 9 }), windowBits: fc.integer({ min: 9, max: 15 }) });
    fc.assert(
      fc.property(texts, options, (text, zlib) => {
        const masked = redact(rules, { body: deflateSync(text, zlib), headers: ["content-length", "5"] });
        expect(masked).toMatchObject({ omitted: { encoded: 1 } });
      }),
    );
  });

  it.each([
    "--b\r\ntoken=1",
    "--\r\ncontent-type: a",
    "x^2=\xc3\xa9",
    "hC=1",
    "x",
    "x\r\n--b\r\ncontent-type: a",
    "x\xc3\x9a",
  ])("is not one that begins with %j", (text) => {
    expect(redact(rules, { body: Buffer.from(text, "latin1") })).toMatchObject({ omitted: {} });
  });

  it("is kept if no rule is for bodies, or if it is no form and no JSON", () => {
    const gzip = { body, headers: ["content-encoding", "gzip"] };
    const xml = { body: Buffer.from("<token>x</token>"), headers: ["content-type", "application/xml"] };

    expect(redact({ query: ["token"] }, gzip)).toMatchObject({ bodyState: "complete", omitted: {} });
    expect(textOf(redact(rules, xml))).toBe("<token>x</token>");
  });
});

describe("dropBodies", () => {
  const dropBodies = [{ path: "/login*" }, { path: "/up/*", type: "image/*" }];

  it.each([
    ["/login", "", true],
    ["/LOGIN?a=b", "", true],
    ["/%6cogin", "", true],
    ["//x/../login", "", true],
    ["/./login;a=b", "", true],
    ["/api/login", "", false],
    ["/up/1", "image/png; q=1", true],
    ["/up/1", "IMAGE/PNG", true],
    ["/up/1", "text/plain", false],
    ["/x", "image/png", false],
  ])("for %s of type %j", (path, type, dropped) => {
    const headers = ["content-length", "6", "Content-MD5", "x", ...(type ? ["content-type", type] : [])];
    const masked = redact({ dropBodies }, { path, headers, body: Buffer.from("secret") });

    expect(masked.bodyState).toBe(dropped ? "omitted" : "complete");
    expect(masked.omitted).toEqual(dropped ? { rule: 1 } : {});
    expect(masked.headers.includes("Content-MD5")).toBe(!dropped);
    expect([masked.body.length, masked.logged, isBodyIncomplete(masked)]).toEqual([dropped ? 0 : 6, 0, dropped]);
  });

  it("costs a long path little more with 64 rules than with one", () => {
    const path = `/${"a/".repeat(200_000)}`;
    const rules = Array.from({ length: 64 }, (_, i) => ({ path: `/login${i}*` }));
    const timeOf = (count: number) => {
      const startMs = performance.now();
      redact({ dropBodies: rules.slice(0, count) }, { path, body: Buffer.from("x") });
      return performance.now() - startMs;
    };
    const best = (count: number) => Math.min(timeOf(count), timeOf(count), timeOf(count));
    best(1);

    expect(best(64)).toBeLessThan(8 * best(1));
  });

  it("does not call a request without a body incomplete", () => {
    expect(redact({ dropBodies }, { path: "/login", body: Buffer.alloc(0) })).toMatchObject({ bodyState: "complete" });
  });
});

describe("a request with thousands of values", () => {
  const key = { env: "KEY", value: "0123456789abcdef" };
  const rules: Rules = { headers: ["x"], cookies: ["s"], query: ["s"], form: ["s"], json: ["**.s"], key };
  const form = ["content-type", "application/x-www-form-urlencoded"];
  const multipart = ["content-type", "multipart/form-data; boundary=b"];
  const json = ["content-type", "application/json"];
  const heads: [where: string, (times: number) => Partial<RequestParts>][] = [
    ["a Cookie header", (times) => ({ headers: ["Cookie", `${"s=;".repeat(times)}s=${secret}`] })],
    ["many Cookie headers", (times) => ({ headers: repeated(times, ["Cookie", `s=${secret}`]) })],
    ["Set-Cookie", (times) => ({ primary: { headers: repeated(times, ["Set-Cookie", `s=${secret}`]) } })],
    ["headers", (times) => ({ headers: repeated(times, ["x", secret]) })],
    ["a URL in a header", (times) => ({ headers: ["Referer", `/?${"s=&".repeat(times)}s=${secret}`] })],
    ["the query", (times) => ({ path: `/?${"s=&".repeat(times)}s=${secret}` })],
    ["parameters of the path", (times) => ({ path: `/a${";s=".repeat(times)};s=${secret}` })],
    ["segments of the path", (times) => ({ path: `/a${"/;s=".repeat(times)};s=${secret}` })],
    ["URLs in the query", (times) => ({ path: `/?${"a=s%3D&".repeat(times)}a=s%3D${secret}` })],
    ["URLs in URLs in the query", (times) => ({ path: `/?a=${"b=s%3D%26".repeat(times)}b=s%3D${secret}` })],
  ];
  const bodies: [where: string, (times: number) => Partial<RequestParts>][] = [
    ["a form", (times) => ({ headers: form, body: Buffer.from(`${"s=&".repeat(times)}s=${secret}`) })],
    ["JSON", (times) => ({ headers: json, body: Buffer.from(`[${'{"s":1},'.repeat(times)}{"s":"${secret}"}]`) })],
    [
      "a multipart form",
      (times) => ({ headers: multipart, body: parts(repeated(times, [`name=s\r\n\r\n${secret}`])) }),
    ],
    ["JSON in parts", (times) => ({ headers: multipart, body: parts(repeated(times, [`name=a\r\n\r\n{"s":1}`])) })],
  ];

  const mostHeaders = 32_767;

  function repeated<T>(times: number, items: readonly T[]): T[] {
    return Array.from({ length: Math.min(times, mostHeaders) }, () => items).flat();
  }

  function parts(contents: readonly string[]): Buffer {
    return Buffer.from(
      `${contents.map((each) => `--b\r\nContent-Disposition: form-data; ${each}\r\n`).join("")}--b--\r\n`,
    );
  }

  it.each([...heads, ...bodies])("in %s gets a mask with the key for each of the first 200", (_, toParts) => {
    const { stored } = redact(rules, toParts(200));

    expect(stored.match(/redacted-[\w-]{16}/g)?.length).toBeGreaterThanOrEqual(200);
    expect(stored).not.toContain(secret);
  });

  it.each(heads)("in %s gets one mask for the rest of them, and stays small", (_, toParts) => {
    const { stored } = redact(rules, toParts(5_000));

    expect(stored.match(/redacted-[\w-]{16}/g)).toHaveLength(256);
    expect(stored).not.toContain(secret);
    expect(stored.length).toBeLessThan(200_000);
  });

  it.each(heads)("in %s takes little time, whatever its length", (_, toParts) => {
    const startMs = performance.now();
    const { stored } = redact(rules, toParts(200_000));

    expect(stored).not.toContain(secret);
    expect(performance.now() - startMs).toBeLessThan(3_000);
  });

  it.each(bodies)("in %s loses its body", (_, toParts) => {
    const { omitted, body } = redact(rules, toParts(5_000));

    expect(omitted).toEqual({ large: 1 });
    expect(body).toHaveLength(0);
  });

  it("loses a body that masks would make larger than 1 MiB", () => {
    const body = Buffer.from(`a=s%3D%26${"=".repeat(1_000_000)}`);

    expect(redact(rules, { headers: form, body })).toMatchObject({ omitted: { large: 1 } });
  });

  it.each(["Cookie", "Referer", "X-Any"])("has %s masked as a whole if it is longer than 64 KiB", (name) => {
    const masked = redact(rules, { headers: [name, `${"?".repeat(70_000)}&s=${secret}`] });

    expect(masked.headers[1]).toMatch(/^redacted-[\w-]{16}$/);
  });

  it("has its query masked as a whole if the path is longer than 64 KiB", () => {
    const { path } = redact(rules, { path: `/a/${"b".repeat(70_000)}?s=${secret}` });

    expect(path).toMatch(/^\/a\/b{70000}\?redacted-[\w-]{16}$/);
  });
});

describe("masks with a key", () => {
  const rules: Rules = {
    headers: ["x-token"],
    cookies: ["sid"],
    query: ["token"],
    form: ["token"],
    json: ["**.token"],
    key: { env: "KEY", value: "0123456789abcdef" },
  };

  it("are equal for equal values, wherever they are and however they are written", () => {
    const form = ["content-type", "application/x-www-form-urlencoded"];
    const masked = [
      redact(rules, { headers: ["X-Token", "a b/é"].map(latin1) }).headers[1],
      redact(rules, { headers: ["cookie", latin1('sid="a b/é"')] }).headers[1].slice(4),
      redact(rules, { path: "/?token=a+b%2F%c3%a9" }).path.slice(8),
      textOf(redact(rules, { headers: form, body: Buffer.from("token=a%20b/é") })).slice(6),
      textOf(redact(rules, { body: Buffer.from('{"token":"a b\\/\\u00e9"}') })).slice(10, -2),
    ];

    expect(new Set(masked).size).toBe(1);
    expect(masked[0]).toMatch(/^redacted-[\w-]{16}$/);
  });

  it("differ for other values and other keys", () => {
    const maskOf = (value: string, key = "0123456789abcdef") =>
      redact({ ...rules, key: { env: "KEY", value: key } }, { headers: ["x-token", value] }).headers[1];

    expect(new Set([maskOf("a"), maskOf("b"), maskOf(""), maskOf("a", "0123456789abcdeF")]).size).toBe(4);
    expect(maskOf("a")).toBe(maskOf("a"));
  });
});

function latin1(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** Reads JSON into a tree that keeps repeated keys: the reviver of JSON.parse would lose them. */
function readTree(text: string): unknown {
  const marked = text.replace(
    /"(?:[^"\\]|\\.)*"\s*:/g,
    (key) => `${key.slice(0, -1).trimEnd().slice(0, -1)}\\u0000${counter++}":`,
  );
  const toTree = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(toTree);
    if (value === null || typeof value !== "object") return value;
    return { entries: Object.entries(value).map(([key, item]) => [key.replace(/\0.*$/s, ""), toTree(item)]) };
  };
  return toTree(JSON.parse(marked));
}

let counter = 0;

/** -0 is 0 in JSON. */
function normal(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
