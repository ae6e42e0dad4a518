import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeaderScan } from "../../../agent/intake/header-scan.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import { decodeHeaderBlock } from "../../../relay/pack/header-block.ts";
import { goldenFiles } from "../../support/spop/golden-frames.ts";
import { headersBinary, headersText, plain } from "../../support/spop/spop-frames.ts";
import { visitArguments } from "../../support/spop/visited-arguments.ts";

const forms = ["text", "binary"] as const;

interface Scanned {
  readonly headers: string[];
  readonly contentLength: number;
  readonly looped: boolean;
}

function scanBytes(scan: HeaderScan, form: (typeof forms)[number], content: Uint8Array): Scanned {
  const bytes = Buffer.concat([Buffer.from(">>\n: x"), content, Buffer.from("\nx-mirror-id: 1\r\n")]);
  if (form === "text") scan.scanText(bytes, 6, 6 + content.length);
  else scan.scanBinary(bytes, 6, 6 + content.length);
  const { block, contentLength, looped } = scan;
  return { headers: decodeHeaderBlock(block.bytes.subarray(block.start, block.end)), contentLength, looped };
}

function scanList(form: (typeof forms)[number], headers: readonly string[]): Scanned {
  const content = form === "text" ? Buffer.from(headersText(headers), "latin1") : headersBinary(headers);
  return scanBytes(new HeaderScan(), form, content);
}

// Headers that HAProxy accepts: no line breaks, no blanks around a value.
const nameText = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,300}$/);
const valueText = fc
  .uint8Array({ maxLength: 3_000 })
  .map((bytes) => Buffer.from(bytes.map((byte) => (byte < 33 || byte === 127 ? 0xe9 : byte))).toString("latin1"));
const headerList = fc.array(fc.tuple(nameText, valueText), { maxLength: 12 }).map((list) => list.flat());

describe.each(forms)("headers as %s", (form) => {
  it("keep order, case, repeats, empty values and every byte", () => {
    const headers = [
      "Host",
      "a",
      "x-tag",
      "1",
      "X-Tag",
      "2",
      "x-tag",
      "1",
      "x-empty",
      "",
      "x-b",
      "gr\xc3\xbc\xff:\x80 x",
    ];

    expect(scanList(form, headers)).toEqual({ headers, contentLength: -1, looped: false });
  });

  it("stay unchanged, for any names and values", () => {
    fc.assert(
      fc.property(headerList, (headers) => {
        expect(scanList(form, headers).headers).toEqual(headers);
      }),
    );
  });

  it.each([
    ["Content-Length", "45", 45],
    ["content-length", "0", 0],
    ["CONTENT-LENGTH", "1e3", -1],
    ["content-length", "", -1],
    ["content-length", "-1", -1],
    ["content-length", "+1", -1],
    ["content-length", "0x10", -1],
    ["content-length", "many", -1],
    ["content-length", "4 5", -1],
    ["content-length", "45, 45", 45],
    ["content-length", "45,7", 45],
    ["content-length", "7,\t45", 45],
    ["content-length", "45,", 45],
    ["content-length", "many, 45", 45],
    ["content-length", ",", -1],
    ["content-length", "0000000000000000000000000000000045", 45],
    ["content-length", "9".repeat(400), Number.POSITIVE_INFINITY],
    ["content-lengtx", "45", -1],
  ])("give the length of the body: %s: %s", (name, value, expected) => {
    expect(scanList(form, ["a", "b", name, value, "c", "d"]).contentLength).toBe(expected);
  });

  it.each([
    [["content-length", "45", "Content-Length", "45"], 45],
    [["content-length", "7", "a", "b", "Content-Length", "45"], 45],
    [["content-length", "45", "Content-Length", "7"], 45],
    [["content-length", "45", "Content-Length", "many"], 45],
  ])("give the largest of several lengths: %s", (headers, expected) => {
    expect(scanList(form, headers).contentLength).toBe(expected);
  });

  it("have the largest length of all if they name more lengths than can be read soon", () => {
    const { contentLength } = scanList(form, ["content-length", ",".repeat(1_025)]);
    expect(contentLength).toBe(Number.POSITIVE_INFINITY);
  });

  it("give the largest length of any list of items, with blanks around them", () => {
    const blanks = fc.string({ unit: fc.constantFrom(" ", "\t"), maxLength: 3 });
    const item = fc.oneof(fc.nat(100_000).map(String), fc.constantFrom("", "many", "1 2", "-1"));
    const value = fc.array(
      fc.tuple(blanks, item, blanks).map((parts) => parts.join("")),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(value, (items) => {
        const numbers = items.map((text) => text.trim()).filter((text) => /^\d+$/.test(text));
        const headers = ["a", "b", "Content-Length", items.join(","), "c", "d"];

        expect(scanList(form, headers).contentLength).toBe(Math.max(-1, ...numbers.map(Number)));
      }),
    );
  });

  it("show how a body is sent, and how many bytes they take", () => {
    const scan = new HeaderScan();
    const take = (headers: readonly string[]) => {
      scanBytes(scan, form, form === "text" ? Buffer.from(headersText(headers), "latin1") : headersBinary(headers));
      const { transferEncoding, hostBytes, count, bytes } = scan;
      return { transferEncoding, hostBytes, count, bytes };
    };

    expect(take(["Host", "shop.example", "Transfer-Encoding", "chunked", "x", ""])).toEqual({
      ...{ transferEncoding: true, hostBytes: 12, count: 3, bytes: 41 },
    });
    expect(take(["hosts", "a", "transfer-encodinX", "b"])).toEqual({
      ...{ transferEncoding: false, hostBytes: 0, count: 2, bytes: 24 },
    });
  });

  it.each([
    ["x-mirror-id", true],
    ["X-Mirror-Id", true],
    ["x-mirror-ie", false],
    ["x-mirror-id2", false],
  ])("show whether the request comes from a replay: %s", (name, expected) => {
    expect(scanList(form, ["a", "b", name, "1"]).looped).toBe(expected);
  });

  it("do not depend on the request before", () => {
    const scan = new HeaderScan();
    const encode = (headers: string[]) =>
      form === "text" ? Buffer.from(headersText(headers), "latin1") : headersBinary(headers);
    scanBytes(scan, form, encode(["x-mirror-id", "1", "content-length", "9"]));

    expect(scanBytes(scan, form, encode(["a", "b"]))).toEqual({
      headers: ["a", "b"],
      contentLength: -1,
      looped: false,
    });
    expect(scanBytes(scan, form, Buffer.alloc(0))).toEqual({ headers: [], contentLength: -1, looped: false });
  });

  it("decode to headers or to a DecodeError, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          scanBytes(new HeaderScan(), form, bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

describe("headers as text and as binary", () => {
  it("give the same result", () => {
    fc.assert(
      fc.property(headerList, (headers) => {
        expect(scanList("text", headers)).toEqual(scanList("binary", headers));
      }),
    );
  });
});

describe("headers as text", () => {
  it.each(goldenFiles("notify-types"))("are read from $name", ({ frames }) => {
    const [{ args }] = visitArguments(frames[0].subarray(11));
    const text = args.find(({ name }) => name === "text")?.bytes ?? Buffer.alloc(0);

    const { headers } = scanBytes(new HeaderScan(), "text", text);

    expect(headers.slice(0, 5)).toEqual([
      "host",
      "shop.example",
      "x-utf8",
      "gr\xc3\xbc\xc3\x9fe \xe2\x9c\x93",
      "x-long",
    ]);
    expect(headers[5]).toMatch(/^L{300}$/);
  });

  it.each([
    ["a: b", ["a", "b"]],
    ["a: b\r\n", ["a", "b"]],
    ["a: b\nc:d\n", ["a", "b", "c", "d"]],
    ["a:\r\nb: \r\n\r\n", ["a", "", "b", ""]],
    ["a: b: c\r\n\r\nd: e\r\n", ["a", "b: c"]],
    ["\r\n", []],
  ])("are read from %j", (text, expected) => {
    expect(scanBytes(new HeaderScan(), "text", Buffer.from(text)).headers).toEqual(expected);
  });

  it.each(["a\r\n", ": b\r\n", "a: b\r\nc\r\n", "a"])("refuse %j", (text) => {
    expect(() => scanBytes(new HeaderScan(), "text", Buffer.from(text))).toThrow(
      expect.objectContaining({ code: "BAD_VALUE" }),
    );
  });

  it.each<[string, string[]]>([
    ["one header", ["a", "x".repeat(5_000)]],
    ["one header with a long name", ["a".repeat(5_000), ""]],
    ["many headers of long strings", Array.from({ length: 80 }, () => "x".repeat(240))],
    ["many short headers", Array.from({ length: 6_000 }, () => "x")],
  ])("fit into the reserved buffer with as few other bytes as possible: %s", (_, list) => {
    const lines: string[] = [];
    for (let i = 0; i < list.length; i += 2) lines.push(`${list[i]}:${list[i + 1]}`);

    expect(scanBytes(new HeaderScan(), "text", Buffer.from(lines.join("\n"))).headers).toEqual(list);
  });

  it("are read without a look at the rest of the frame", () => {
    const frame = Buffer.alloc(8 * 1024 * 1024, "a:b");
    const scan = new HeaderScan();
    const startMs = performance.now();

    for (let i = 0; i < 3_000; i++) scan.scanText(frame, 0, 3);

    // 24 GiB would take seconds.
    expect(performance.now() - startMs).toBeLessThan(1_000);
  });

  it("need little more memory than their size, even if every byte is a line", () => {
    const hostile = Buffer.alloc(1024 * 1024, "\n");
    const before = process.memoryUsage().arrayBuffers;

    const scan = new HeaderScan();
    scan.scanText(hostile, 0, hostile.length);

    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(3 * 1024 * 1024);
    expect(scan.block.end - scan.block.start).toBe(0);
  });
});

describe("headers as binary", () => {
  it.each([
    ["a name without a value", "0161", "TRUNCATED"],
    ["a value that is cut off", "01610562", "TRUNCATED"],
    ["a header without a name", "000162", "BAD_VALUE"],
  ])("refuse %s", (_, hex, code) => {
    const bytes = Buffer.from(hex, "hex");

    expect(() => new HeaderScan().scanBinary(bytes, 0, bytes.length)).toThrow(expect.objectContaining({ code }));
  });

  it("end at the two empty strings, with or without them", () => {
    const list = Buffer.concat(["a", "b"].map(plain));

    expect(scanBytes(new HeaderScan(), "binary", list).headers).toEqual(["a", "b"]);
    expect(scanBytes(new HeaderScan(), "binary", Buffer.concat([list, Buffer.alloc(2), list])).headers).toEqual([
      "a",
      "b",
    ]);
  });

  it("are not copied", () => {
    const bytes = headersBinary(["a", "b"]);
    const scan = new HeaderScan();

    scan.scanBinary(bytes, 0, bytes.length);

    expect(scan.block.bytes).toBe(bytes);
  });
});

describe("too many headers", () => {
  const one = { text: Buffer.from("a:\n"), binary: Buffer.of(1, 97, 0) };

  it.each(forms)("are refused beyond the 32,767 of HAProxy, over all messages of a NOTIFY, as %s", (form) => {
    const scan = new HeaderScan();
    const list = (count: number) => Buffer.alloc(3 * count, one[form]);

    expect(scanBytes(scan, form, list(32_767)).headers).toHaveLength(2 * 32_767);
    expect(() => scanBytes(scan, form, list(1))).toThrow(
      // Not a text: toThrow would take any text for a thrown undefined.
      expect.objectContaining({ code: "BAD_COUNT", message: expect.stringContaining("more than 32767 headers") }),
    );
    scan.left = 1;
    expect(scanBytes(scan, form, list(1)).headers).toEqual(["a", ""]);
  });
});
