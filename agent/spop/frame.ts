import { writePlainString, writeTypedString, writeTypedUint32 } from "./typed-data.ts";

/** SPOE.txt 3.2.1 and, for UNSET, 3.2.2 of HAProxy 3.0 and older: a continued fragment. */
export const frameType = {
  unset: 0,
  haproxyHello: 1,
  haproxyDisconnect: 2,
  notify: 3,
  agentHello: 101,
  agentDisconnect: 102,
  ack: 103,
} as const;

export const frameFlag = { fin: 1, abort: 2 } as const;

/** Size of the length field before every frame. The length does not include the field itself. */
export const lengthBytes = 4;

/** The smallest frame: type, flags, and two identifiers of one byte. */
export const minFrameBytes = 7;

/** SPOE.txt 3.3. HAProxy indexes a table with the code, so an agent must not invent others. */
export const statusCode = {
  normal: 0,
  ioError: 1,
  timeout: 2,
  tooBig: 3,
  invalidFrame: 4,
  noVersion: 5,
  noMaxFrameSize: 6,
  noCapabilities: 7,
  badVersion: 8,
  badMaxFrameSize: 9,
  fragmentationUnsupported: 10,
  interlacedFrames: 11,
  frameIdNotFound: 12,
  resource: 13,
  unknown: 99,
} as const;

// HAProxy 3.1.0 leaves the client waiting for `timeout processing` after an ACK without any action, so each ACK has one
// that does nothing: UNSET-VAR (2), 2 arguments, scope transaction (2), name "_".
const noopAction = Uint8Array.of(2, 2, 2, 1, 0x5f);

/** Size of an ACK whose two identifiers have `idBytes` bytes together. */
export function ackBytes(idBytes: number): number {
  return lengthBytes + 5 + idBytes + noopAction.length;
}

/**
 * Writes the ACK of a NOTIFY and returns the offset after it. Copies the bytes of its identifiers (`idStart` to `idEnd`
 * of `source`) unchanged, whatever their size.
 */
export function writeAck(target: Buffer, offset: number, source: Uint8Array, idStart: number, idEnd: number): number {
  let at = writeFrameHead(target, offset, ackBytes(idEnd - idStart) - lengthBytes, frameType.ack);
  for (let i = idStart; i < idEnd; i++) target[at++] = source[i];
  for (let i = 0; i < noopAction.length; i++) target[at++] = noopAction[i];
  return at;
}

/** AGENT-HELLO. Send it in one write: HAProxy 3.2 to 3.5 reset the connection if it arrives in pieces. */
export function encodeAgentHello(maxFrameBytes: number): Buffer {
  return encodeControlFrame(frameType.agentHello, (frame, start) => {
    let at = writePlainString(frame, start, "version");
    at = writeTypedString(frame, at, "2.0");
    at = writePlainString(frame, at, "max-frame-size");
    at = writeTypedUint32(frame, at, maxFrameBytes);
    at = writePlainString(frame, at, "capabilities");
    return writeTypedString(frame, at, "pipelining,fragmentation");
  });
}

/** AGENT-DISCONNECT. The text is cut to 255 bytes, the most that HAProxy 3.0 and older accept. */
export function encodeAgentDisconnect(code: number, text: string): Buffer {
  return encodeControlFrame(frameType.agentDisconnect, (frame, start) => {
    let at = writePlainString(frame, start, "status-code");
    at = writeTypedUint32(frame, at, code);
    at = writePlainString(frame, at, "message");
    return writeTypedString(frame, at, text.slice(0, 255));
  });
}

function encodeControlFrame(type: number, writePayload: (frame: Buffer, start: number) => number): Buffer {
  const frame = Buffer.allocUnsafe(512);
  const start = writeFrameHead(frame, 0, 0, type);
  frame[start] = 0;
  frame[start + 1] = 0;
  const end = writePayload(frame, start + 2);
  frame.writeUInt32BE(end - lengthBytes, 0);
  return frame.subarray(0, end);
}

function writeFrameHead(target: Buffer, offset: number, length: number, type: number): number {
  target[offset] = length >>> 24;
  target[offset + 1] = length >>> 16;
  target[offset + 2] = length >>> 8;
  target[offset + 3] = length;
  target[offset + 4] = type;
  target[offset + 5] = 0;
  target[offset + 6] = 0;
  target[offset + 7] = 0;
  target[offset + 8] = frameFlag.fin;
  return offset + 9;
}
