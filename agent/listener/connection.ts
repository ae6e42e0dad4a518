import type { Duplex } from "node:stream";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { type NotifyVisitor, Session, type SessionEnd } from "../spop/session.ts";
import { FrameTrace } from "./frame-trace.ts";
import type { PeerLog } from "./peer-log.ts";

export interface ConnectionOptions {
  readonly maxFrameBytes: number;
  /** HAProxy says HELLO at once; whoever does not is no HAProxy. */
  readonly helloDeadlineMs: number;
  /** Takes the payload of a NOTIFY that has been acknowledged. May throw `DecodeError`. */
  readonly onNotify: NotifyVisitor;
  /** Messages that were acknowledged and thrown away for their size. */
  readonly onOversize: (count: number) => void;
  /** Is told of each chunk that was answered: the time from its arrival to the write, and the frames it completed. */
  readonly onAnswered?: (elapsedMs: number, frames: number) => void;
  /** False while health checks are to fail. */
  readonly isHealthy: () => boolean;
  readonly log: PeerLog;
}

// HAProxy reads its ACKs; a peer that does not must not fill our memory with them.
const maxUnreadBytes = 1024 * 1024;
// How long a frame that has begun may take to arrive before a draining connection is closed all the same.
const drainFrameMs = 1_000;
// How long the peer may take to close after a DISCONNECT.
const closeMs = 1_000;

/** Moves bytes between a peer and its session. Owns the socket, and catches what the session and the intake throw. */
export class Connection {
  readonly #socket: Duplex;
  readonly #session: Session;
  readonly #options: ConnectionOptions;
  readonly #peer: string;
  readonly #trace: FrameTrace | undefined;
  readonly #closed: Promise<unknown>;
  #oversizeNotifies = 0;
  #malformed: DecodeError | undefined;
  #leaving = false;
  #writtenBytes = 0;
  // What `checkProgress` saw the last time.
  #framesThen = 0;
  #readThen = 0;

  constructor(socket: Duplex, peer: string, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#session = new Session(options.maxFrameBytes);
    this.#peer = peer;
    this.#trace = FrameTrace.create(peer);
    this.#closed = new Promise((resolve) => socket.once("close", resolve));
    const deadline = setTimeout(() => this.#helloMissing(), options.helloDeadlineMs);
    socket.once("close", () => clearTimeout(deadline));
    // A reset or an end without DISCONNECT is normal: HAProxy 3.1 and newer close idle connections so.
    socket.on("error", (error) => options.log.debug({ event: "socket", peer, reason: error.message }));
    socket.on("data", (chunk) => {
      this.#receive(chunk);
      if (this.#session.greeted) clearTimeout(deadline);
    });
  }

  /**
   * Ends the connection if something stands still since the last call: a frame that is half received, or ACKs that the peer
   * does not read. An idle connection is left alone; HAProxy may keep it for hours.
   */
  checkProgress(): void {
    const { frames, idle } = this.#session;
    const unreadBytes = this.#socket.writableLength;
    const readBytes = this.#writtenBytes - unreadBytes;
    if (!idle && frames === this.#framesThen) this.#giveUp("a frame has begun and does not go on");
    else if (unreadBytes > 0 && readBytes === this.#readThen) this.#giveUp("the peer does not read its ACKs");
    // A frame that has begun since then gets a whole interval.
    this.#framesThen = idle ? -1 : frames;
    this.#readThen = unreadBytes === 0 ? -1 : readBytes;
  }

  /** Says goodbye as soon as no frame is half received, and resolves when the peer has closed. */
  async disconnect(): Promise<void> {
    this.#leaving = true;
    this.#leaveIfIdle();
    const impatience = [
      setTimeout(() => this.#leave(), drainFrameMs),
      setTimeout(() => this.#socket.destroy(), drainFrameMs + closeMs),
    ];
    await this.#closed;
    for (const timer of impatience) clearTimeout(timer);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const session = this.#session;
    // What follows the end is not looked at, and reported once.
    if (this.#session.end) return;
    const arrivedMs = performance.now();
    const framesBefore = session.frames;
    this.#trace?.received(chunk);
    // The answer first, in one write: HAProxy holds the clients' requests until it has it.
    const reply = session.receive(chunk);
    if (session.end?.kind === "health-check" && !this.#options.isHealthy()) return void this.#socket.destroy();
    if (reply.length > 0) {
      this.#write(reply);
      this.#options.onAnswered?.(performance.now() - arrivedMs, session.frames - framesBefore);
    }
    session.takeNotifies(this.#take);
    if (this.#malformed && !session.end) this.#write(session.reject(this.#malformed));
    if (session.oversizeNotifies !== this.#oversizeNotifies) {
      this.#options.onOversize(session.oversizeNotifies - this.#oversizeNotifies);
      this.#oversizeNotifies = session.oversizeNotifies;
    }
    if (session.end) this.#ended(session.end);
    else if (this.#socket.writableLength > maxUnreadBytes) this.#giveUp("the peer does not read its ACKs");
    if (this.#leaving) this.#leaveIfIdle();
  }

  #write(reply: Buffer): void {
    this.#trace?.sent(reply);
    this.#writtenBytes += reply.length;
    this.#socket.write(reply);
  }

  // One malformed NOTIFY must not cost the others of its chunk.
  readonly #take: NotifyVisitor = (bytes, start, end) => {
    try {
      this.#options.onNotify(bytes, start, end);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#malformed = error;
    }
  };

  #ended(end: SessionEnd): void {
    const { log } = this.#options;
    const fields = { event: "session-end", peer: this.#peer, kind: end.kind, status: end.code, reason: end.text };
    // 0 to 2 are normal: stopped softly, a client's connection broke, idle for `timeout idle`.
    if (end.kind === "refused") log.warn(fields, "connection refused");
    else if (end.kind === "haproxy-disconnect" && end.code > 2) log.warn(fields, "HAProxy disconnected with an error");
    else log.debug(fields);
    this.#socket.end();
    // A peer that does not close is not waited for.
    const timer = setTimeout(() => this.#socket.destroy(), closeMs);
    this.#socket.once("close", () => clearTimeout(timer));
  }

  #helloMissing(): void {
    if (this.#session.greeted) return;
    const { log, helloDeadlineMs } = this.#options;
    const reason = `no HAPROXY-HELLO within ${helloDeadlineMs / 1_000} s`;
    log.warn({ event: "no-hello", peer: this.#peer, reason }, "connection closed: the peer is no HAProxy");
    this.#socket.destroy();
  }

  #giveUp(reason: string): void {
    if (this.#socket.destroyed) return;
    this.#options.log.warn({ event: "stalled", peer: this.#peer, reason }, "connection closed");
    this.#socket.destroy();
  }

  #leaveIfIdle(): void {
    if (this.#session.idle) this.#leave();
  }

  #leave(): void {
    const { writableEnded, destroyed } = this.#socket;
    if (writableEnded || destroyed) return;
    this.#write(this.#session.disconnect("the agent stops"));
    this.#socket.end();
  }
}
