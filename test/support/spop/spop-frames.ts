import { readReferenceVarint, referenceVarint } from "./reference-varint.ts";

// HAProxy's side of SPOP, written from SPOE.txt and independent of the agent's codec.

/** The bytes of a typed value. */
export type Typed = Buffer;

export const nul: Typed = Buffer.from([0]);
export const bool = (value: boolean): Typed => Buffer.from([value ? 0x11 : 0x01]);
export const int32 = (value: bigint | number): Typed => Buffer.concat([Buffer.from([2]), referenceVarint(value)]);
export const uint32 = (value: bigint | number): Typed => Buffer.concat([Buffer.from([3]), referenceVarint(value)]);
export const int64 = (value: bigint | number): Typed => Buffer.concat([Buffer.from([4]), referenceVarint(value)]);
export const uint64 = (value: bigint | number): Typed => Buffer.concat([Buffer.from([5]), referenceVarint(value)]);
export const ipv4 = (...address: number[]): Typed => Buffer.from([6, ...address]);
export const ipv6 = (address: Uint8Array): Typed => Buffer.concat([Buffer.from([7]), address]);
export const str = (text: string | Uint8Array): Typed => Buffer.concat([Buffer.from([8]), plain(text)]);
export const bin = (bytes: string | Uint8Array): Typed => Buffer.concat([Buffer.from([9]), plain(bytes)]);

/** A length-prefixed run of bytes; each character of a string is one byte. */
export function plain(text: string | Uint8Array): Buffer {
  const bytes = typeof text === "string" ? Buffer.from(text, "latin1") : text;
  return Buffer.concat([referenceVarint(bytes.length), bytes]);
}

export type Items = readonly (readonly [name: string, value: Typed])[];

export interface FrameFields {
  readonly type: number;
  readonly flags?: number;
  readonly streamId?: bigint | number;
  readonly frameId?: bigint | number;
  readonly payload?: Uint8Array;
}

const fin = 1;
export const finAbort = 3;

/** Any frame; FIN and identifiers 0 by default. */
export function frame({
  type,
  flags = fin,
  streamId = 0,
  frameId = 0,
  payload = Buffer.alloc(0),
}: FrameFields): Buffer {
  const rest = Buffer.concat([
    Buffer.from([type, flags >>> 24, (flags >>> 16) & 255, (flags >>> 8) & 255, flags & 255]),
    referenceVarint(streamId),
    referenceVarint(frameId),
    payload,
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(rest.length);
  return Buffer.concat([length, rest]);
}

export function itemList(items: Items): Buffer {
  return Buffer.concat(items.flatMap(([name, value]) => [plain(name), value]));
}

const helloItems: Items = [
  ["supported-versions", str("2.0")],
  ["max-frame-size", uint32(16_380)],
  ["capabilities", str("pipelining")],
  ["engine-id", str("68b33d10-c431-4f81-88d0-816811a66a74")],
];

/** HAPROXY-HELLO as HAProxy sends it, with some items replaced, added, or left out by `undefined`. */
export function hello(changes: Readonly<Record<string, Typed | undefined>> = {}): Buffer {
  const items = new Map<string, Typed | undefined>([...helloItems, ...Object.entries(changes)]);
  const present = [...items].filter((item): item is [string, Typed] => item[1] !== undefined);
  return frame({ type: 1, payload: itemList(present) });
}

export interface Message {
  readonly name?: string;
  readonly args: Items;
  /** A wrong number of arguments. */
  readonly argumentCount?: number;
}

export function messageList(messages: readonly Message[]): Buffer {
  return Buffer.concat(
    messages.map(({ name = "mirror", args, argumentCount = args.length }) =>
      Buffer.concat([plain(name), Buffer.from([argumentCount]), itemList(args)]),
    ),
  );
}

export interface NotifyFields {
  readonly streamId?: bigint | number;
  readonly frameId?: bigint | number;
  readonly messages?: readonly Message[];
}

export function notify({ streamId = 1, frameId = 1, messages = [get("/")] }: NotifyFields = {}): Buffer {
  return frame({ type: 3, streamId, frameId, payload: messageList(messages) });
}

/** A fragmented NOTIFY with at most `pieceBytes` of payload in each frame: NOTIFY, UNSET, …, UNSET with FIN. */
export function fragmentedNotify(fields: NotifyFields & { readonly pieceBytes: number }): Buffer[] {
  const { streamId = 1, frameId = 1, messages = [get("/")], pieceBytes } = fields;
  const payload = messageList(messages);
  const pieces: Buffer[] = [];
  for (let at = 0; at < payload.length || pieces.length < 2; at += pieceBytes) {
    const last = at + pieceBytes >= payload.length && pieces.length > 0;
    const piece = payload.subarray(at, at + pieceBytes);
    pieces.push(frame({ type: at === 0 ? 3 : 0, flags: last ? fin : 0, streamId, frameId, payload: piece }));
  }
  return pieces;
}

export function haproxyDisconnect(code: number, text: string): Buffer {
  return frame({
    type: 2,
    payload: itemList([
      ["status-code", uint32(code)],
      ["message", str(text)],
    ]),
  });
}

/** The smallest message that is a usable request. */
export function get(pathq: string): Message {
  return {
    args: [
      ["method", str("GET")],
      ["pathq", str(pathq)],
    ],
  };
}

/** A header list in the format of `req.hdrs_bin`. */
export function headersBinary(headers: readonly string[]): Buffer {
  return Buffer.concat([...headers.map(plain), Buffer.from([0, 0])]);
}

/** A header list in the format of `req.hdrs`. */
export function headersText(headers: readonly string[]): string {
  let text = "";
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}\r\n`;
}

/** A frame from the agent, decoded by HAProxy's rules. */
export interface AgentFrame {
  readonly type: "hello" | "disconnect" | "ack";
  readonly flags: number;
  readonly streamId: bigint;
  readonly frameId: bigint;
  /** By name; empty for an ACK. */
  readonly items: Readonly<Record<string, string | bigint>>;
  readonly payload: Buffer;
}

const agentFrameTypes: Readonly<Record<number, AgentFrame["type"]>> = { 101: "hello", 102: "disconnect", 103: "ack" };

/** Decodes the frames that the agent wrote. Throws if HAProxy would have closed the connection. */
export function readAgentFrames(bytes: Uint8Array): AgentFrame[] {
  const all = Buffer.from(bytes);
  const frames: AgentFrame[] = [];
  for (let at = 0; at < all.length; ) {
    const end = at + 4 + all.readUInt32BE(at);
    if (end > all.length) throw new Error(`the agent's frame at ${at} is cut off`);
    const type = agentFrameTypes[all[at + 4]];
    if (type === undefined) throw new Error(`type ${all[at + 4]} is not a frame type of agents`);
    const streamId = readReferenceVarint(all, at + 9);
    const frameId = readReferenceVarint(all, streamId.next);
    const payload = all.subarray(frameId.next, end);
    frames.push({
      type,
      flags: all.readUInt32BE(at + 5),
      streamId: streamId.value,
      frameId: frameId.value,
      items: type === "ack" ? {} : readItems(payload),
      payload,
    });
    at = end;
  }
  return frames;
}

function readItems(payload: Buffer): Record<string, string | bigint> {
  const items: Record<string, string | bigint> = {};
  for (let at = 0; at < payload.length; ) {
    const nameLength = readReferenceVarint(payload, at);
    const nameEnd = nameLength.next + Number(nameLength.value);
    const name = payload.toString("latin1", nameLength.next, nameEnd);
    const number = readReferenceVarint(payload, nameEnd + 1);
    at = number.next;
    if (payload[nameEnd] === 3) {
      items[name] = number.value;
    } else if (payload[nameEnd] === 8) {
      at += Number(number.value);
      if (at > payload.length) throw new Error(`the value of ${name} is cut off`);
      items[name] = payload.toString("latin1", number.next, at);
    } else {
      throw new Error(`${name} has type ${payload[nameEnd]}`);
    }
  }
  return items;
}
