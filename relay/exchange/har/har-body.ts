import { type BodyState, type CapturedRequest, headerOf } from "../../pack/captured-request.ts";
import { asObject, countOf, type JsonObject, objectsOf, textOf } from "./json-object.ts";
import { isByteString } from "../text-bytes.ts";

type Body = Pick<CapturedRequest, "body" | "bodyState">;

export interface PostData {
  readonly mimeType: string;
  readonly text: string;
  readonly _encoding?: "base64";
}

/** Writes the body as text, or as base64 if it is not UTF-8; undefined if it is empty. */
export function toPostData({ headers, body }: CapturedRequest): PostData | undefined {
  if (body.length === 0) return undefined;
  const mimeType = headerOf(headers, "content-type") ?? "";
  const text = Buffer.from(body).toString();
  if (Buffer.from(text).equals(body)) return { mimeType, text };
  return { mimeType, text: Buffer.from(body).toString("base64"), _encoding: "base64" };
}

/**
 * Reads the body of a HAR request. A form that has only `params` is encoded anew. A HAR does not contain the files of a
 * form, so the body of a form with files is omitted.
 *
 * @param knownState the body state that the file names; if it names none, the Content-Length decides.
 */
export function readPostData(request: JsonObject, headers: readonly string[], knownState: string): Body {
  const postData = asObject(request.postData);
  const text = textOf(postData.text);
  const params = objectsOf(postData.params);
  if (text === "" && params.length > 0) return encodeParams(params, textOf(postData.mimeType));
  const body = Uint8Array.from(toBytes(text, postData, countOf(request.bodySize)));
  if (knownState === "complete" || knownState === "truncated" || knownState === "omitted") {
    return { body, bodyState: knownState };
  }
  const length = Number(headerOf(headers, "content-length") ?? (countOf(request.bodySize) || body.length));
  // A browser writes a body that is not text with other bytes; then its length differs, and the body counts as
  // truncated.
  return { body, bodyState: stateOf(body, length) };
}

function stateOf(body: Uint8Array, length: number): BodyState {
  if (body.length === length) return "complete";
  return body.length === 0 ? "omitted" : "truncated";
}

function toBytes(text: string, { _encoding, encoding }: JsonObject, bodySize: number | undefined): Buffer {
  // HAR 1.2 has no encoding for a request's body; 1.3 proposes this one.
  if (_encoding === "base64" || encoding === "base64") return Buffer.from(text, "base64");
  const bytes = Buffer.from(text);
  // Some tools write each byte as the character with its number: then the number of characters is the body size.
  const asBytes = bodySize === text.length && bytes.length !== bodySize && isByteString(text);
  return asBytes ? Buffer.from(text, "latin1") : bytes;
}

function encodeParams(params: readonly JsonObject[], mimeType: string): Body {
  const pairs = params.map(({ name, value }): [string, string] => [textOf(name), textOf(value)]);
  if (!/^multipart\/form-data/i.test(mimeType)) {
    return { body: Uint8Array.from(Buffer.from(String(new URLSearchParams(pairs)))), bodyState: "complete" };
  }
  const boundary = /;\s*boundary="?([^";]+)"?/i.exec(mimeType)?.[1];
  if (boundary === undefined || params.some(({ fileName }) => fileName !== undefined)) {
    return { body: new Uint8Array(), bodyState: "omitted" };
  }
  const parts = pairs.map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${quoteName(name)}"\r\n\r\n${value}\r\n`,
  );
  return { body: Uint8Array.from(Buffer.from(`${parts.join("")}--${boundary}--\r\n`)), bodyState: "complete" };
}

/** Escapes a field name as browsers do (HTML, multipart/form-data encoding algorithm). */
function quoteName(name: string): string {
  return name.replaceAll("\r", "%0D").replaceAll("\n", "%0A").replaceAll('"', "%22");
}
