import { isByteString } from "../text-bytes.ts";
import { type JsonObject, textOf } from "./json-object.ts";
import type { Spelling } from "./text-spellings.ts";

type Encode = (text: string) => string;

/** Yields the bytes that the `params` of a form can mean, the most likely first. */
export function* spellForm(params: readonly JsonObject[], type: string): Generator<Spelling> {
  if (/^multipart\/form-data/i.test(type)) yield* spellMultipart(params, type);
  else if (/^application\/x-www-form-urlencoded/i.test(type) || type === "") yield* spellUrlencoded(params);
  else yield* spellRaw(params);
}

/** Whether a form has a file whose content is not in the HAR. */
export function lacksFile(params: readonly JsonObject[]): boolean {
  return params.some(({ fileName, value }) => textOf(fileName) !== "" && textOf(value) === "");
}

/** Some tools write names and values as they were sent, others decode them. */
function* spellUrlencoded(params: readonly JsonObject[]): Generator<Spelling> {
  const raw = joinPairs(params, (text) => text);
  const looksSent = /%[0-9A-Fa-f]{2}/.test(raw) && /^(?:[\x21-$&-\x7e]|%[0-9A-Fa-f]{2})*$/.test(raw);
  if (looksSent) yield* spellRaw(params);
  for (const encode of [formEncode, spaceAsPercent, encodeComponent, strictEncode]) yield* spellPairs(params, encode);
  if (!isByteString(raw)) return yield* spellRaw(params);
  for (const encode of [latin1Encode, (text: string) => latin1Encode(text).replaceAll("+", "%20")]) {
    yield* spellPairs(params, encode);
  }
  yield* spellRaw(params);
}

/** The pairs as they are: also the body of another type, such as JSON, that a tool took for a form. */
function* spellRaw(params: readonly JsonObject[]): Generator<Spelling> {
  for (const { bytes } of spellPairs(params, (text) => text)) {
    yield { bytes };
    const text = bytes.toString();
    if (isByteString(text)) yield { bytes: Buffer.from(text, "latin1") };
  }
}

/** A parameter without a value can have an equals sign or none. */
function* spellPairs(params: readonly JsonObject[], encode: Encode): Generator<Spelling> {
  yield { bytes: Buffer.from(joinPairs(params, encode)) };
  if (params.some(({ value }) => textOf(value) === "")) yield { bytes: Buffer.from(joinPairs(params, encode, "")) };
}

function joinPairs(params: readonly JsonObject[], encode: Encode, emptyEnd = "="): string {
  return params
    .map(({ name, value }) => {
      const text = textOf(value);
      return encode(textOf(name)) + (text === "" ? emptyEnd : `=${encode(text)}`);
    })
    .join("&");
}

/** As browsers do (URL Standard, application/x-www-form-urlencoded serializing). */
function formEncode(text: string): string {
  return String(new URLSearchParams([["", text]])).slice(1);
}

function spaceAsPercent(text: string): string {
  return formEncode(text).replaceAll("+", "%20");
}

function encodeComponent(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** RFC 3986: everything but unreserved characters. */
function strictEncode(text: string): string {
  return encodeComponent(text).replace(/[!'()*]/g, percentEncode);
}

function latin1Encode(text: string): string {
  return text.replace(/[^*\-.0-9A-Z_a-z]/g, (char) => (char === " " ? "+" : percentEncode(char)));
}

function percentEncode(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

/** Undefined parts of a form are not spelled: without a boundary there is no body. */
function* spellMultipart(params: readonly JsonObject[], type: string): Generator<Spelling> {
  const boundary = /;\s*boundary="?([^";]+)"?/i.exec(type)?.[1];
  if (boundary === undefined) return;
  const typed = [(param: JsonObject) => textOf(param.fileName) !== "", () => true, () => false];
  for (const hasType of params.some(({ contentType }) => textOf(contentType) !== "") ? typed : typed.slice(0, 1)) {
    const text = `${params.map((param) => formatPart(param, boundary, hasType(param))).join("")}--${boundary}--`;
    const charsets = isByteString(text) ? (["utf8", "latin1"] as const) : (["utf8"] as const);
    for (const charset of charsets) {
      yield { bytes: Buffer.from(`${text}\r\n`, charset) };
      yield { bytes: Buffer.from(text, charset) };
    }
  }
}

function formatPart({ name, value, fileName, contentType }: JsonObject, boundary: string, hasType: boolean): string {
  const file = textOf(fileName) === "" ? "" : `; filename="${quoteName(textOf(fileName))}"`;
  const typeLine = hasType && textOf(contentType) !== "" ? `Content-Type: ${textOf(contentType)}\r\n` : "";
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoteName(textOf(name))}"${file}\r\n`;
  return `${head}${typeLine}\r\n${textOf(value)}\r\n`;
}

/** Escapes a field name as browsers do (HTML, multipart/form-data encoding algorithm). */
function quoteName(name: string): string {
  return name.replaceAll("\r", "%0D").replaceAll("\n", "%0A").replaceAll('"', "%22");
}
