import { type CapturedRequest, headerOf } from "../../pack/captured-request.ts";
import { lacksFile, spellForm } from "./form-spellings.ts";
import { asObject, countOf, type JsonObject, objectsOf, textOf } from "./json-object.ts";
import { type Spelling, spellText } from "./text-spellings.ts";

type Body = Pick<CapturedRequest, "body" | "bodyState">;

/** What a HAR says about a body. */
interface Described {
  readonly text: string;
  readonly params: readonly JsonObject[];
  /** The Content-Type, or else the type that the tool noted; empty if there is none. */
  readonly type: string;
  readonly encoding: string;
  /** Undefined if it is not known; a size of 0 is not known either, because some tools write it for every body. */
  readonly size: number | undefined;
  /** Starts anew with each call: all of them would need much memory. */
  readonly spellings: () => Iterable<Spelling>;
}

const textType =
  /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml|x-www-form-urlencoded|(?:x-)?javascript|x-ndjson|graphql|(?:x-)?yaml|csp-report)\b)/i;
const methodsWithBody: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);

/**
 * Reads the body that another tool wrote. Tools write the same bytes in different ways, so this takes the spelling that
 * has the length that the client stated. If none has it, the body counts as truncated.
 */
export function readForeignBody(
  request: JsonObject,
  { method, headers }: Pick<CapturedRequest, "method" | "headers">,
): Body {
  const postData = asObject(request.postData);
  const type = headerOf(headers, "content-type") ?? textOf(postData.mimeType);
  const params = objectsOf(postData.params);
  const body: Described = {
    text: textOf(postData.text),
    params,
    type,
    encoding: headerOf(headers, "content-encoding") ?? "identity",
    size: countOf(request.bodySize) || undefined,
    spellings: function* () {
      yield* spellText(postData, type);
      yield* spellForm(params, type);
    },
  };
  const length = statedLength(headers);
  if (length === 0) return complete(new Uint8Array());
  if (isDamaged(body)) return incomplete(body);
  if (length !== undefined) {
    const exact = find(body, ({ bytes }) => bytes.length === length);
    return exact ? complete(exact.bytes) : incomplete(body);
  }
  if (body.text !== "" || params.length > 0) return guess(body);
  // Firefox leaves out large bodies, but notes their type.
  const noted = textOf(postData.mimeType) !== "" && methodsWithBody.has(method) && request.bodySize !== 0;
  const sent = body.size !== undefined || headerOf(headers, "transfer-encoding") !== undefined;
  return noted || sent ? incomplete(body) : complete(new Uint8Array());
}

/** The Content-Length; undefined if it is missing or does not count (RFC 9112 6.3). */
function statedLength(headers: readonly string[]): number | undefined {
  if (headerOf(headers, "transfer-encoding") !== undefined) return undefined;
  const length = headerOf(headers, "content-length") ?? "";
  return /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** Whether the tool replaced bytes that are not text: then their number may even be right. */
function isDamaged({ text, type }: Described): boolean {
  return !textType.test(type) && text.includes("\ufffd");
}

/** Reads a body of which the client stated no length, as with HTTP/2. */
function guess(body: Described): Body {
  const { text, params, type, encoding, size } = body;
  const stated = find(body, (spelling) => spelling.stated === true);
  if (stated) return complete(stated.bytes);
  const sized = size === undefined ? undefined : find(body, ({ bytes }) => bytes.length === size);
  // The text may have been decompressed, and nothing says how the client compressed it.
  if (!/^identity$/i.test(encoding.trim())) {
    const isZipped = !/gzip/i.test(encoding) || (sized?.bytes[0] === 0x1f && sized.bytes[1] === 0x8b);
    return sized && isZipped ? complete(sized.bytes) : incomplete(body);
  }
  const first = find(body, () => true);
  if (!first) return incomplete(body);
  if (textType.test(type) && text !== "") {
    // Some tools count characters. A text that is larger than its size is as it was, but one that is smaller was cut.
    const counted = size === text.length ? first : (sized ?? first);
    return size === undefined || size <= counted.bytes.length ? complete(counted.bytes) : incomplete(body);
  }
  if (size !== undefined) return sized ? complete(sized.bytes) : incomplete(body);
  if (text === "") return lacksFile(params) ? incomplete(body) : complete(first.bytes);
  // HAR has no content of files that are in a form.
  if (/^multipart\//i.test(type)) return /filename\*?=/i.test(text) ? incomplete(body) : complete(first.bytes);
  return type === "" || first.bytes.length === text.length ? complete(first.bytes) : incomplete(body);
}

function find({ spellings }: Described, isRight: (spelling: Spelling) => boolean): Spelling | undefined {
  for (const spelling of spellings()) if (isRight(spelling)) return spelling;
  return undefined;
}

function complete(bytes: Uint8Array): Body {
  return { body: Uint8Array.from(bytes), bodyState: "complete" };
}

/** The most likely bytes, as far as the file has them. */
function incomplete(body: Described): Body {
  const first = body.text === "" && lacksFile(body.params) ? undefined : find(body, () => true);
  if (!first || first.bytes.length === 0) return { body: new Uint8Array(), bodyState: "omitted" };
  return { body: Uint8Array.from(first.bytes), bodyState: "truncated" };
}
