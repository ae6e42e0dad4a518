import { type CapturedRequest, headerOf } from "../../pack/captured-request.ts";
import { asObject, type JsonObject, textOf } from "./json-object.ts";

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

/** Reads what `toPostData` wrote. */
export function readOwnBody(request: JsonObject, state: string): Pick<CapturedRequest, "body" | "bodyState"> {
  const { text, _encoding } = asObject(request.postData);
  const body = Uint8Array.from(Buffer.from(textOf(text), _encoding === "base64" ? "base64" : "utf8"));
  return { body, bodyState: state === "truncated" || state === "omitted" ? state : "complete" };
}
