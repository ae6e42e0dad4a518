import { ByteReader } from "../../relay/pack/byte-reader.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { Fragments } from "./fragments.ts";
import { encodeAgentDisconnect, encodeAgentHello, frameFlag, frameType, minFrameBytes, statusCode } from "./frame.ts";
import { FrameSplitter } from "./frame-splitter.ts";
import { decodeHaproxyDisconnect, decodeHaproxyHello } from "./handshake.ts";
import { NotifyQueue, type NotifyVisitor } from "./notify-queue.ts";
import { onlyHaproxy, Refusal, toRefusal } from "./refusal.ts";
import { Reply } from "./reply.ts";

/** Why a session is over. `code` is the status of the DISCONNECT that was sent or received. */
export interface SessionEnd {
  readonly kind: "health-check" | "haproxy-disconnect" | "refused";
  readonly code: number;
  readonly text: string;
}

// A real HELLO has about 130 bytes. The first frame of a peer may not exceed this limit.
const maxHelloBytes = 4096;
// HAProxy cuts its reason to 255 bytes. The keys of 16 MiB would take more than a second, and hundreds of megabytes.
const maxDisconnectBytes = 4096;
// HAProxy 3.1.0 sends frames of the size that it announced, even if the agent answered with a smaller one.
const toleratedFrameBytes = 16 * 1024 * 1024;
// HAProxy has at most 20 unanswered frames on a connection, unless `max-waiting-frames` is set.
const maxUnfinishedNotifies = 1024;
const nothing = Buffer.alloc(0);
const always = () => true;
// One is enough for all sessions: each answer is copied before the next one begins.
const reply = new Reply();

/**
 * One SPOP connection as a pure state machine: bytes in, bytes out, requests out. It uses no socket and no clock.
 *
 * For each chunk, the owner calls `receive`, sends the answer in one write, then checks `end`. It calls `takeNotifies` then or later.
 */
export class Session {
  readonly #ownMaxFrameBytes: number;
  readonly #splitter = new FrameSplitter();
  readonly #fragments: Fragments;
  readonly #reader = new ByteReader(nothing);
  #state: "hello" | "open" | "draining" | "closed" = "hello";
  #frameLimitBytes = maxHelloBytes;
  #peerFrameBytes = 0;
  readonly #notifies = new NotifyQueue();
  #end: SessionEnd | undefined;
  // The values at the last `checkUnfinished`.
  #lastFrame = 0;
  #lastMessage = 0;
  /** Messages that were acknowledged and discarded because their fragments exceeded the size limit. */
  oversizeNotifies = 0;
  /** Frames received so far. */
  frames = 0;
  /** NOTIFYs received completely so far. */
  completed = 0;

  /** @param maxFrameBytes largest frame to agree to; also the limit of fragmented messages, if it is above 16 MiB. */
  constructor(maxFrameBytes: number) {
    this.#ownMaxFrameBytes = maxFrameBytes;
    this.#fragments = new Fragments(Math.max(maxFrameBytes, toleratedFrameBytes));
  }

  /** Set once the session is over: write the last reply, then close the socket. */
  get end(): SessionEnd | undefined {
    return this.#end;
  }

  /** True while no frame and no fragmented message is half received or waits to be read. */
  get idle(): boolean {
    return this.#splitter.unfinished === 0 && this.#fragments.count === 0 && !this.hasMore;
  }

  /** The memory of half-received frames and messages. */
  get heldBytes(): number {
    return this.#splitter.heldBytes + this.#fragments.heldBytes;
  }

  /** True if a frame or a fragmented message that was unfinished at the last call still is, whatever arrived since. */
  checkUnfinished(): boolean {
    const frame = this.#splitter.unfinished;
    const message = this.#fragments.oldest;
    const stuck = (frame > 0 && frame === this.#lastFrame) || (message > 0 && message === this.#lastMessage);
    this.#lastFrame = frame;
    this.#lastMessage = message;
    return stuck;
  }

  /** True once HAProxy's HELLO has been answered. */
  get greeted(): boolean {
    return this.#state !== "hello";
  }

  /**
   * Reads a chunk and returns the answer to all frames that it completes, for one write. Empty if there is no answer.
   *
   * @param maxFrames frames to read now; `proceed` reads those behind them
   */
  receive(chunk: Uint8Array, maxFrames = Number.POSITIVE_INFINITY): Buffer {
    if (this.#state === "closed") return nothing;
    this.#splitter.push(chunk);
    return this.proceed(maxFrames);
  }

  /** True if `receive` or `proceed` has left frames, which have no answer yet. Their chunk has to be unchanged. */
  get hasMore(): boolean {
    return this.#splitter.waitingBytes > 0;
  }

  /** Reads the frames that are left, and returns the answer to them. */
  proceed(maxFrames = Number.POSITIVE_INFINITY): Buffer {
    reply.begin();
    try {
      for (let left = maxFrames; this.#next(); ) {
        this.#frame();
        if (--left <= 0 && this.hasMore) break;
      }
    } catch (error) {
      this.#refuse(error);
    }
    // An idle connection would otherwise keep its last chunk.
    this.#reader.reset(nothing, 0, 0);
    return reply.copy();
  }

  /** Acknowledged NOTIFYs that `takeNotifies` has not passed on yet. */
  get untaken(): number {
    return this.#notifies.length;
  }

  /** The memory that the untaken NOTIFYs keep, and frames that have not been read. A chunk with both counts twice. */
  get untakenBytes(): number {
    return this.#notifies.heldBytes + this.#splitter.chunkBytes;
  }

  /**
   * Passes the payloads of the acknowledged NOTIFYs to `visit`, in order, also after the end: one message at least, and more while
   * `hasTime` returns true. The chunks that they came in have to be unchanged.
   */
  takeNotifies(visit: NotifyVisitor, hasTime: () => boolean = always): void {
    if (this.#notifies.length > 0) this.#notifies.take(visit, this.#peerFrameBytes, hasTime);
  }

  /**
   * Ends the session because the content of a NOTIFY is malformed, or for another reason of the agent's own. Returns the
   * DISCONNECT to write.
   */
  reject(error: DecodeError | Refusal): Buffer {
    reply.begin();
    this.#refuse(error);
    return reply.copy();
  }

  /**
   * Ends the session from the agent's side and returns the DISCONNECT to write. NOTIFYs that HAProxy sent before it
   * read the DISCONNECT are still passed on, but are not acknowledged.
   */
  disconnect(text: string): Buffer {
    if (this.#state === "closed") return nothing;
    this.#state = "draining";
    return encodeAgentDisconnect(statusCode.normal, text);
  }

  #next(): boolean {
    return this.#state !== "closed" && this.#splitter.next(this.#frameLimitBytes);
  }

  #frame(): void {
    const { bytes, start, end } = this.#splitter;
    this.frames++;
    if (end - start < minFrameBytes) {
      throw new Refusal(
        statusCode.invalidFrame,
        `a frame of ${end - start} bytes is too short: SPOP frames have at least ${minFrameBytes}`,
      );
    }
    const type = bytes[start];
    // FIN and ABORT are in the last of the four flag bytes.
    const flags = bytes[start + 4];
    const reader = this.#reader.reset(bytes, start + 5, end);
    skipVarint(reader);
    skipVarint(reader);
    if (this.#state === "hello") {
      if (type !== frameType.haproxyHello) {
        throw new Refusal(statusCode.invalidFrame, `the first frame must be HAPROXY-HELLO, not type ${type}`);
      }
      this.#hello(reader);
    } else if (type === frameType.notify) {
      this.#notify(reader, start + 5, flags);
    } else if (type === frameType.unset) {
      this.#fragment(reader, start + 5, flags);
    } else if (type === frameType.haproxyDisconnect) {
      this.#haproxyDisconnect(reader);
    } else if (type === frameType.haproxyHello) {
      throw new Refusal(statusCode.invalidFrame, "a second HAPROXY-HELLO on one connection");
    } else if (type >= frameType.agentHello && type <= frameType.ack) {
      throw new Refusal(
        statusCode.invalidFrame,
        `only agents send frames of type ${type}: another agent connects to this port`,
      );
    }
    // Other types belong to later versions of the protocol; SPOE.txt 3.2.1 says to skip them.
  }

  #hello(reader: ByteReader): void {
    const hello = decodeHaproxyHello(reader);
    if (hello.kind === "refused") throw new Refusal(hello.code, hello.text);
    reply.append(encodeAgentHello(Math.min(hello.maxFrameBytes, this.#ownMaxFrameBytes)));
    if (hello.healthCheck) {
      // SPOE.txt 3.2.4: send only the HELLO. HAProxy 3.1 and newer fail the check if anything follows it.
      this.#close({ kind: "health-check", code: statusCode.normal, text: "" });
      return;
    }
    this.#state = "open";
    this.#peerFrameBytes = hello.maxFrameBytes;
    this.#frameLimitBytes = Math.min(hello.maxFrameBytes, Math.max(this.#ownMaxFrameBytes, toleratedFrameBytes));
  }

  #notify(reader: ByteReader, idStart: number, flags: number): void {
    if ((flags & frameFlag.fin) === 0) {
      const key = idKey(reader, idStart);
      if (this.#fragments.count >= maxUnfinishedNotifies) {
        throw new Refusal(
          statusCode.resource,
          `more than ${maxUnfinishedNotifies} fragmented NOTIFYs are unfinished on one connection`,
        );
      }
      if (!this.#fragments.begin(key, reader)) {
        throw new Refusal(statusCode.interlacedFrames, "a fragmented NOTIFY begins twice with the same identifiers");
      }
      return;
    }
    if ((flags & frameFlag.abort) !== 0) return;
    this.completed++;
    this.#acknowledge(reader.bytes, idStart, reader.offset);
    this.#notifies.push(reader.bytes, reader.offset, reader.end);
  }

  #fragment(reader: ByteReader, idStart: number, flags: number): void {
    const key = idKey(reader, idStart);
    if (!this.#fragments.has(key)) {
      throw new Refusal(statusCode.frameIdNotFound, "a fragment continues a NOTIFY that never began");
    }
    if ((flags & frameFlag.abort) !== 0) {
      this.#fragments.drop(key);
      return;
    }
    this.#fragments.add(key, reader);
    if ((flags & frameFlag.fin) === 0) return;
    this.completed++;
    this.#acknowledge(reader.bytes, idStart, reader.offset);
    const payload = this.#fragments.finish(key);
    if (payload === undefined) {
      this.oversizeNotifies++;
      return;
    }
    this.#notifies.push(payload, 0, payload.length);
  }

  #haproxyDisconnect(reader: ByteReader): void {
    if (reader.end - reader.offset > maxDisconnectBytes) {
      throw new Refusal(
        statusCode.tooBig,
        `a HAPROXY-DISCONNECT has more than ${maxDisconnectBytes} bytes: ${onlyHaproxy}`,
      );
    }
    const { code, text } = decodeHaproxyDisconnect(reader);
    if (this.#state !== "draining") reply.append(encodeAgentDisconnect(statusCode.normal, "bye"));
    this.#close({ kind: "haproxy-disconnect", code, text });
  }

  #acknowledge(source: Uint8Array, idStart: number, idEnd: number): void {
    if (this.#state === "draining") return;
    reply.acknowledge(source, idStart, idEnd);
  }

  #refuse(error: unknown): void {
    const refusal = toRefusal(error, this.greeted);
    if (this.#state !== "draining") reply.append(encodeAgentDisconnect(refusal.status, refusal.message));
    this.#close({ kind: "refused", code: refusal.status, text: refusal.message });
  }

  #close(end: SessionEnd): void {
    this.#state = "closed";
    this.#end = end;
    this.#fragments.clear();
    this.#splitter.clear();
  }
}

function idKey(reader: ByteReader, idStart: number): string {
  return Buffer.from(reader.bytes.subarray(idStart, reader.offset)).toString("latin1");
}

function skipVarint(reader: ByteReader): void {
  if (reader.u8() < 240) return;
  for (let i = 0; i < 9; i++) if (reader.u8() < 128) return;
  throw new DecodeError("TOO_LONG", reader.offset, "an identifier has more than 10 bytes");
}
