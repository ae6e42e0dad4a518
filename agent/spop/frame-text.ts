import { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { printable, secretMark } from "../../relay/pack/request-text.ts";
import { isSecretName } from "../../relay/redaction/secret-names.ts";
import { maskNamed, maskShownPath } from "../../relay/redaction/shown-request.ts";
import { frameFlag, frameType } from "./frame.ts";
import { type DecodedValue, dataType, decodeTypedData } from "./typed-data.ts";

const typeNames: Readonly<Record<number, string>> = {
  [frameType.unset]: "UNSET",
  [frameType.haproxyHello]: "HAPROXY-HELLO",
  [frameType.haproxyDisconnect]: "HAPROXY-DISCONNECT",
  [frameType.notify]: "NOTIFY",
  [frameType.agentHello]: "AGENT-HELLO",
  [frameType.agentDisconnect]: "AGENT-DISCONNECT",
  [frameType.ack]: "ACK",
};
const itemTypes: readonly number[] = [
  frameType.haproxyHello,
  frameType.haproxyDisconnect,
  frameType.agentHello,
  frameType.agentDisconnect,
];
// Headers under any other name are binary data, like a body: only their size is shown.
const headerArguments: readonly string[] = ["arg_hdrs", "hdrs", "headers", "res_hdrs"];
const shownCharacters = 60;

/**
 * Formats a frame as one line for a person: type, identifiers, flags, size, and its names with their values, cut after
 * 60 characters. Credentials and binary data are not shown. Never throws: the line of a damaged frame ends with the
 * error.
 */
export function formatFrame(bytes: Uint8Array, start: number, end: number): string {
  const reader = new ByteReader(bytes, start, end);
  const parts: string[] = [];
  try {
    const type = reader.u8();
    parts.push(typeNames[type] ?? `type ${type}`);
    const flags = reader.u32();
    parts.push(`stream=${reader.bigVarint()} frame=${reader.bigVarint()} ${flagNames(flags)} ${end - start} B`);
    if (itemTypes.includes(type)) while (!reader.done) parts.push(formatItem(reader));
    else if (type === frameType.notify) while (!reader.done) formatMessage(reader, parts);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    parts.push(`… ${error.message}`);
  }
  return parts.join(" ");
}

function flagNames(flags: number): string {
  const names = [(flags & frameFlag.fin) === 0 ? "unfinished" : "FIN", (flags & frameFlag.abort) === 0 ? "" : "ABORT"];
  return names.filter((name) => name !== "").join("|");
}

/** Appends to `parts` item by item, so that the beginning of a damaged message is shown. */
function formatMessage(reader: ByteReader, parts: string[]): void {
  parts.push(`${shorten(reader.latin1())}:`);
  for (let left = reader.u8(); left > 0; left--) parts.push(formatItem(reader));
}

function formatItem(reader: ByteReader): string {
  const name = reader.latin1();
  const type = reader.u8() & 0x0f;
  reader.offset--;
  const value = decodeTypedData(reader);
  return `${shorten(name)}=${isSecretName(name) ? secretMark : formatValue(name, type, value)}`;
}

function formatValue(name: string, type: number, value: DecodedValue): string {
  if (headerArguments.includes(name)) {
    if (typeof value === "string") return formatHeaders(headersOfText(value));
    if (value instanceof Uint8Array) return formatHeaders(headersOfBlock(value));
  }
  if (typeof value === "string") return `"${shorten(maskArgument(name, value))}"`;
  if (!(value instanceof Uint8Array)) return String(value);
  if (type === dataType.ipv4) return value.join(".");
  if (type === dataType.ipv6)
    return Buffer.from(value)
      .toString("hex")
      .replace(/.{4}(?!$)/g, "$&:");
  return `<${value.length} B>`;
}

function maskArgument(name: string, value: string): string {
  // A query or a form, without a question mark of its own.
  if (/^[^\s{["'</]+=/.test(value)) return maskShownPath(`?${value}`, secretMark).slice(1);
  return /^(?:\/|[a-z]+:\/\/)/.test(value) ? maskShownPath(value, secretMark) : maskNamed(name, value, secretMark);
}

function formatHeaders(headers: Iterable<readonly [string, string]>): string {
  const shown = [...headers].map(([name, value]) => `${shorten(name)}: ${shorten(maskNamed(name, value, secretMark))}`);
  return `[${shown.join(", ")}]`;
}

function* headersOfText(text: string): Generator<readonly [string, string]> {
  for (const line of text.split("\r\n").filter((line) => line !== "")) {
    const colon = line.indexOf(":");
    // Without a name, the value may be a secret.
    yield colon < 0 ? [line.slice(0, 8), "…"] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  }
}

function* headersOfBlock(block: Uint8Array): Generator<readonly [string, string]> {
  const reader = new ByteReader(block);
  while (!reader.done) {
    const header = [reader.latin1(), reader.latin1()] as const;
    if (header[0] === "") return;
    yield header;
  }
}

function shorten(text: string): string {
  const rest = text.length - shownCharacters;
  return printable(rest > 0 ? `${text.slice(0, shownCharacters)}… (${text.length} B)` : text);
}
