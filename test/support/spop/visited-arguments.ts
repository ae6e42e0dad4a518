import { visitMessages } from "../../../agent/spop/notify.ts";
import { type DecodedValue, decodeTypedData } from "../../../agent/spop/typed-data.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";

interface VisitedArgument {
  readonly name: string;
  readonly type: number;
  readonly value: DecodedValue;
  /** The bytes of strings, binaries and addresses. */
  readonly bytes: Buffer;
}

export interface VisitedMessage {
  readonly name: string;
  readonly args: VisitedArgument[];
}

/** All arguments that our reader finds in the payload of a NOTIFY. */
export function visitArguments(payload: Uint8Array): VisitedMessage[] {
  const all = Buffer.from(payload);
  const messages: VisitedMessage[] = [];
  visitMessages(
    new ByteReader(all),
    { type: 0, start: 0, end: 0, number: 0 },
    {
      beginMessage: (start, end) => messages.push({ name: all.toString("latin1", start, end), args: [] }),
      argument: (_position, nameStart, nameEnd, { type, start, end }) =>
        messages.at(-1)?.args.push({
          name: all.toString("latin1", nameStart, nameEnd),
          type,
          value: decodeTypedData(new ByteReader(all, nameEnd)),
          bytes: all.subarray(start, end),
        }),
      endMessage: () => {},
    },
  );
  return messages;
}
