import { ByteText } from "./byte-text.ts";

type ArgumentType = "null" | "boolean" | "integer" | "ipv4" | "ipv6" | "string" | "binary";

export interface Argument {
  readonly name: string;
  readonly type: ArgumentType;
  /** The bytes of an address, a string or a binary; empty for other types. */
  readonly text: string;
  /** An integer, or 1 for true. */
  readonly number: number;
}

export interface Messages {
  /** Those in front of the first byte that does not follow the format. */
  readonly complete: readonly (readonly Argument[])[];
  readonly malformed: boolean;
}

const types: readonly ArgumentType[] = [
  ...(["null", "boolean", "integer", "integer", "integer", "integer", "ipv4", "ipv6", "string", "binary"] as const),
];
// SECURITY.md: a NOTIFY with more is refused.
const maxMessages = 64;

/** The list of messages of a NOTIFY (SPOE.txt 3.2.6), from its bytes. */
export function readMessages(payload: string): Messages {
  const bytes = new ByteText(payload);
  const complete: Argument[][] = [];
  while (!bytes.isAtEnd) {
    const message = complete.length === maxMessages ? undefined : readMessage(bytes);
    if (!message) return { complete, malformed: true };
    complete.push(message);
  }
  return { complete, malformed: false };
}

function readMessage(bytes: ByteText): Argument[] | undefined {
  if (bytes.string() === undefined) return undefined;
  const count = bytes.byte();
  if (count === undefined) return undefined;
  const found: Argument[] = [];
  for (let i = 0; i < count; i++) {
    const argument = readArgument(bytes);
    if (!argument) return undefined;
    found.push(argument);
  }
  return found;
}

function readArgument(bytes: ByteText): Argument | undefined {
  const name = bytes.string();
  const first = bytes.byte();
  if (name === undefined || first === undefined) return undefined;
  const type = types[first % 16];
  switch (type) {
    case "null":
      return { name, type, text: "", number: 0 };
    case "boolean":
      return { name, type, text: "", number: Math.floor(first / 16) % 2 };
    case "integer": {
      const number = bytes.integer();
      return number === undefined ? undefined : { name, type, text: "", number };
    }
    case undefined:
      return undefined;
    default: {
      const text = type === "ipv4" ? bytes.take(4) : type === "ipv6" ? bytes.take(16) : bytes.string();
      return text === undefined ? undefined : { name, type, text, number: 0 };
    }
  }
}
