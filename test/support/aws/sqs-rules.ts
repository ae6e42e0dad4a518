/** An entry of SendMessageBatch as it is on the wire: bytes are base64. */
export interface WireEntry {
  readonly Id: string;
  readonly MessageBody?: string;
  readonly DelaySeconds?: number;
  readonly MessageAttributes?: Readonly<Record<string, WireAttribute>>;
}

export interface WireAttribute {
  readonly DataType?: string;
  readonly BinaryValue?: string;
  readonly StringValue?: string;
}

export interface SqsRefusal {
  readonly code: string;
  readonly text: string;
}

const limitBytes = 1024 * 1024;

/**
 * Why SQS refuses a message, from its API reference (SendMessage, MessageAttributeValue) and its quotas; undefined if it accepts
 * it. Shares no code with the product.
 */
export function findRefusal({
  MessageBody: body,
  DelaySeconds = 0,
  MessageAttributes = {},
}: WireEntry): SqsRefusal | undefined {
  if (body === undefined || body === "")
    return { code: "MissingParameter", text: "must contain the parameter MessageBody" };
  if (hasForbidden(body)) return { code: "InvalidMessageContents", text: "Invalid characters found" };
  if (!Number.isInteger(DelaySeconds) || DelaySeconds < 0 || DelaySeconds > 900) return invalid("DelaySeconds");
  const attributes = Object.entries(MessageAttributes);
  if (attributes.length > 10) return invalid("Number of message attributes exceeds the allowed maximum [10]");
  let bytes = new TextEncoder().encode(body).length;
  for (const [name, { DataType: type = "", BinaryValue, StringValue }] of attributes) {
    if (!/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(name) || name.length > 256 || /^(?:AWS|Amazon)\./i.test(name)) {
      return invalid(`name ${name}`);
    }
    const [kind] = type.split(".", 1);
    if (!["String", "Number", "Binary"].includes(kind) || type.length > 256) return invalid(`type of ${name}`);
    const value =
      kind === "Binary"
        ? Uint8Array.from(Buffer.from(BinaryValue ?? "", "base64"))
        : new TextEncoder().encode(StringValue);
    if (value.length === 0)
      return invalid(`The message attribute '${name}' must contain a non-empty value of type '${kind}'`);
    if (kind !== "Binary" && hasForbidden(StringValue ?? "")) return invalid(`characters of ${name}`);
    bytes += name.length + type.length + value.length;
  }
  if (bytes > limitBytes) return invalid(`Message must be shorter than ${limitBytes} bytes`);
  return undefined;
}

/** #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF */
function hasForbidden(text: string): boolean {
  return Array.from(text).some((char) => {
    const point = char.codePointAt(0) ?? 0;
    if (point < 0x20) return point !== 0x9 && point !== 0xa && point !== 0xd;
    return (point > 0xd7ff && point < 0xe000) || point === 0xfffe || point === 0xffff;
  });
}

function invalid(text: string): SqsRefusal {
  return { code: "InvalidParameterValue", text };
}
