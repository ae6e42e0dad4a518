import { CredentialsError } from "../../../relay/credentials/credentials-error.ts";
import { parseTokenAnswer } from "../../../relay/credentials/token-answer.ts";
import { formatHttpText, parseAnswerHead, parseHttpText } from "../../../relay/exchange/http-text.ts";
import { assertSame, assertTrue, type FileKind } from "./file-kind.ts";

const requests = [
  "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Fold: a\r\n b\r\n\r\n",
  "POST / HTTP/1.0\nhost: a\ncontent-length: 4\n\nbody",
  '\r\n\r\nPOST http://a/p HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;a="b"\r\nbody\r\n1\r\nx\r\n0\r\nX-Trailer: t\r\n\r\n',
];
const answers = [
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/2 404\r\nAge: 1\r\n\r\n",
];
const marks = [
  ..."\r\n|\n\n|\r\n\r\n|: |:|Content-Length: 4\r\n|content-length: 0x4\r\n|Transfer-Encoding: chunked\r\n|0\r\n\r\n|ffffffff\r\n".split(
    "|",
  ),
  ...";a=b| HTTP/1.1| HTTP/9.9|HTTP/1.1 101\r\n\r\n|HTTP/1.1 100\r\n\r\n|\t|http://|#|*|\x7f|+5\r\n|-1\r\n| chunked , ".split(
    "|",
  ),
];

/** Requests as HTTP/1 text. */
export const requestTexts: FileKind = {
  name: "HTTP request",
  seeds: requests.map((text) => ({ bytes: Buffer.from(text), accepted: 1, refused: 0 })),
  share: 160,
  marks,
  read: (bytes) => {
    const parsed = parseHttpText(bytes);
    if (typeof parsed === "string") {
      assertTrue(/^[A-Za-z][\w ,.:;()/'+-]{5,200}$/.test(parsed), () => `the reason ${JSON.stringify(parsed)}`);
      return { accepted: 0, refused: 1 };
    }
    assertTrue(
      parsed.headers.every((part) => !part.includes("\n")),
      "a header has a line break",
    );
    // Such a header cannot be written, and is not sent.
    if (parsed.headers.some((part) => /[\0\r]/.test(part))) return { accepted: 1, refused: 0 };
    const unsent = { id: "a", index: 0, capturedAtMs: 0, src: "" };
    const again = parseHttpText(formatHttpText({ ...unsent, ...parsed }));
    assertTrue(typeof again !== "string", () => `a request that is written again: ${again}`);
    const { version: _, ...rest } = again;
    const { version: _version, ...expected } = { ...parsed, headers: withLength(parsed.headers, parsed.body.length) };
    if (parsed.bodyState === "complete") assertSame(rest, expected, "a request that is written again");
    return { accepted: 1, refused: 0 };
  },
};

/** Every Content-Length is written as that of the body. */
function withLength(headers: readonly string[], bytes: number): readonly string[] {
  const isLength = (i: number) => i % 2 === 1 && headers[i - 1].toLowerCase() === "content-length";
  return headers.map((part, i) => (isLength(i) ? `${bytes}` : part));
}

/** Responses as HTTP/1 text, of which only the head is read. */
export const answerTexts: FileKind = {
  name: "HTTP answer",
  seeds: answers.map((text) => ({ bytes: Buffer.from(text), accepted: 1, refused: 0 })),
  share: 60,
  marks,
  read: (bytes) => {
    const { status, headers = [] } = parseAnswerHead(bytes);
    if (status === undefined) return { accepted: 0, refused: 1 };
    assertTrue(Number.isInteger(status) && status >= 0 && status <= 999, "a status has other than three digits");
    assertTrue(headers.length % 2 === 0 && headers.every((part) => !part.includes("\n")), "a header has a line break");
    return { accepted: 1, refused: 0 };
  },
};

/** What a token endpoint or a program answers. */
export const tokenAnswers: FileKind = {
  name: "token answer",
  seeds: ['{"access_token":"abc.def","token_type":"Bearer","expires_in":3600}', " abc.def\n"].map((text) => ({
    bytes: Buffer.from(text),
    accepted: 1,
    refused: 0,
  })),
  share: 20,
  marks: ['"access_token":', '"expires_in":', "null", "[]", "{", "}", '"', "1e999", "-1", "\\u000a", "\\ud800"],
  read: (bytes) => {
    try {
      const { value, holdsMs } = parseTokenAnswer(bytes.toString(), "access_token", 300_000);
      assertTrue(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value), "a token has other characters");
      assertTrue(holdsMs !== undefined && holdsMs > 0 && holdsMs <= 365 * 86_400_000, `a token lasts ${holdsMs} ms`);
      return { accepted: 1, refused: 0 };
    } catch (error) {
      if (!(error instanceof CredentialsError)) throw error;
      // At most a part of a sentence: the answer may hold a secret.
      assertTrue(
        !bytes.toString().trim().includes("abc.def") || !error.message.includes("abc.def"),
        "an error has a token",
      );
      return { accepted: 0, refused: 1 };
    }
  },
};
