import type { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { readTypedData, type TypedValue } from "./typed-data.ts";

/** Receives the content of a NOTIFY in order. Offsets refer to the reader's bytes. */
export interface MessageVisitor {
  beginMessage(nameStart: number, nameEnd: number): void;
  /** `position` counts the arguments of the message from 0; `value` is overwritten by the next argument. */
  argument(position: number, nameStart: number, nameEnd: number, value: TypedValue): void;
  endMessage(): void;
}

// One for each message of an event in spoe.cfg. With more, a frame of 16 MiB could have eight million empty ones, and reading
// them would delay the ACKs of other connections by seconds.
const maxMessages = 64;

const always = () => true;

/**
 * Visits the list of messages of a NOTIFY (SPOE.txt 3.2.6): one at least, and more while `hasTime` returns true. Then `reader` is
 * at the next message. Throws `DecodeError` at the first byte that does not follow the format, and at the 65th message, after it
 * has visited the messages before that byte completely.
 *
 * @param before messages of the NOTIFY that were visited before
 * @returns messages of the NOTIFY that have been visited
 */
export function visitMessages(
  reader: ByteReader,
  value: TypedValue,
  visitor: MessageVisitor,
  before = 0,
  hasTime: () => boolean = always,
): number {
  let messages = before;
  while (!reader.done) {
    if (++messages > maxMessages) {
      throw new DecodeError("BAD_COUNT", reader.offset, `a NOTIFY has more than ${maxMessages} messages`);
    }
    const messageNameBytes = reader.varint();
    const messageNameAt = reader.skip(messageNameBytes);
    const argumentCount = reader.u8();
    visitor.beginMessage(messageNameAt, reader.offset - 1);
    for (let position = 0; position < argumentCount; position++) {
      const nameBytes = reader.varint();
      const nameAt = reader.skip(nameBytes);
      const nameEnd = reader.offset;
      readTypedData(reader, value);
      visitor.argument(position, nameAt, nameEnd, value);
    }
    visitor.endMessage();
    if (!hasTime()) break;
  }
  return messages;
}
