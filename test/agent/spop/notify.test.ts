import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { visitMessages } from "../../../agent/spop/notify.ts";
import { decodeTypedData, type TypedValue } from "../../../agent/spop/typed-data.ts";
import { ByteReader } from "../../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../../relay/pack/decode-error.ts";
import {
  bin,
  bool,
  int64,
  ipv4,
  type Message,
  messageList,
  nul,
  str,
  type Typed,
} from "../../support/spop/spop-frames.ts";

interface Visited {
  readonly name: string;
  readonly args: [name: string, value: string][];
  ended: boolean;
}

/** Visits the bytes and returns the visited messages and the error, if any. Values are the hex of their encoding. */
function visit(bytes: Uint8Array): { readonly messages: Visited[]; readonly error: DecodeError | undefined } {
  const messages: Visited[] = [];
  const all = Buffer.from(bytes);
  const reader = new ByteReader(all);
  const value: TypedValue = { type: 0, start: 0, end: 0, number: 0 };
  try {
    visitMessages(reader, value, {
      beginMessage: (start, end) => messages.push({ name: all.toString("latin1", start, end), args: [], ended: false }),
      argument: (position, start, end) => {
        const message = messages[messages.length - 1];
        expect(position).toBe(message.args.length);
        message.args.push([all.toString("latin1", start, end), all.toString("hex", end, reader.offset)]);
      },
      endMessage: () => {
        messages[messages.length - 1].ended = true;
      },
    });
  } catch (error) {
    if (error instanceof DecodeError) return { messages, error };
    throw error;
  }
  return { messages, error: undefined };
}

const typed = fc.oneof(
  fc.constant(nul),
  fc.boolean().map(bool),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(int64),
  fc.constant(ipv4(192, 0, 2, 1)),
  fc.uint8Array({ maxLength: 300 }).map(str),
  fc.uint8Array({ maxLength: 300 }).map(bin),
);
const name = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const message: fc.Arbitrary<Message> = fc.record({
  name,
  args: fc.array(fc.tuple(name, typed) as fc.Arbitrary<[string, Typed]>, { maxLength: 10 }),
});

describe("visitMessages", () => {
  it("visits every message and argument in order", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        const visited = visit(messageList(messages));
        expect(visited.error).toBeUndefined();
        expect(visited.messages).toEqual(
          messages.map(({ name = "", args }) => ({
            name,
            args: args.map(([key, value]) => [key, value.toString("hex")]),
            ended: true,
          })),
        );
      }),
    );
  });

  it("visits nothing in an empty list", () => {
    expect(visit(new Uint8Array())).toEqual({ messages: [], error: undefined });
  });

  it("visits 255 arguments, and arguments with an empty name", () => {
    const args = Array.from({ length: 255 }, () => ["", nul] as const);

    expect(visit(messageList([{ args }])).messages[0].args).toHaveLength(255);
  });

  it("visits the messages before a malformed one completely, and does not end the malformed one", () => {
    const good = { args: [["a", str("1")]] } as const;

    const visited = visit(messageList([good, good, { ...good, argumentCount: 2 }]));

    expect(visited.error?.code).toBe("TRUNCATED");
    expect(visited.messages.map(({ ended }) => ended)).toEqual([true, true, false]);
  });

  it("throws in the message after one whose argument count is too small", () => {
    const miscounted = messageList([
      {
        args: [
          ["a", str("1")],
          ["b", str("2")],
        ],
        argumentCount: 1,
      },
    ]);

    expect(visit(miscounted).error).toMatchObject({ code: "TRUNCATED" });
  });

  it("returns messages or throws a DecodeError for any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        visit(bytes);
        try {
          decodeTypedData(new ByteReader(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

describe("a NOTIFY", () => {
  it("may have 64 messages, and no more", () => {
    const empty = (count: number) => Buffer.alloc(2 * count);

    expect(visit(empty(64))).toMatchObject({ messages: { length: 64 }, error: undefined });
    expect(visit(empty(8_000_000))).toMatchObject({ messages: { length: 64 }, error: { code: "BAD_COUNT" } });
  });
});
