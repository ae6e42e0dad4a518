import type { Duplex } from "node:stream";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { type NotifyVisitor, Session, type SessionEnd } from "../spop/session.ts";
import { FrameTrace } from "./frame-trace.ts";
import type { PeerLog } from "./peer-log.ts";

export interface ConnectionOptions {
  readonly maxFrameBytes: number;
  /** HAProxy sends its HELLO at once; a peer that has sent none after this time is not HAProxy. */
  readonly helloDeadlineMs: number;
  /** Receives the payload of a NOTIFY that has been acknowledged. May throw `DecodeError`. */
  readonly onNotify: NotifyVisitor;
  /** Receives the number of messages that were acknowledged and discarded because of their size. */
  readonly onOversize: (count: number) => void;
  /** Called for each answered chunk: the time from its arrival to the write, and the number of frames it completed. */
  readonly onAnswered?: (elapsedMs: number, frames: number) => void;
  /** False while health checks should fail. */
  readonly isHealthy: () => boolean;
  readonly log: PeerLog;
}

// HAProxy reads its ACKs. A peer that does not read them must not fill our memory.
const maxUnreadBytes = 1024 * 1024;
// How long a draining connection waits for the rest of a frame before it is closed anyway.
const drainFrameMs = 1_000;
// How long the peer may take to close after a DISCONNECT.
const closeMs = 1_000;

/** Moves bytes between a peer and its session. Owns the socket, and catches errors of the session and the intake. */
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
  // The values at the last `checkProgress`.
  #lastFrames = 0;
  #lastReadBytes = 0;

  constructor(socket: Duplex, peer: string, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#session = new Session(options.maxFrameBytes);
    this.#peer = peer;
    this.#trace = FrameTrace.create(peer);
    this.#closed = new Promise((resolve) => socket.once("close", resolve));
    const deadline = setTimeout(() => this.#helloMissing(), options.helloDeadlineMs);
    socket.once("close", () => clearTimeout(deadline));
    // A reset or an end without DISCONNECT is normal: HAProxy 3.1 and newer close idle connections this way.
    socket.on("error", (error) => options.log.debug({ event: "socket", peer, reason: error.message }));
    socket.on("data", (chunk) => {
      this.#receive(chunk);
      if (this.#session.greeted) clearTimeout(deadline);
    });
  }

  /**
   * Ends the connection if it has made no progress since the last call: a frame is half received, or the peer does not
   * read its ACKs. An idle connection is left alone; HAProxy may keep it for hours.
   */
  checkProgress(): void {
    const { frames, idle } = this.#session;
    const unreadBytes = this.#socket.writableLength;
    const readBytes = this.#writtenBytes - unreadBytes;
    if (!idle && frames === this.#lastFrames) this.#giveUp("the peer stopped in the middle of a frame");
    else if (unreadBytes > 0 && readBytes === this.#lastReadBytes) this.#giveUp("the peer does not read its ACKs");
    // A frame that began since the last call has a whole interval to arrive.
    this.#lastFrames = idle ? -1 : frames;
    this.#lastReadBytes = unreadBytes === 0 ? -1 : readBytes;
  }

  /** Sends DISCONNECT as soon as no frame is half received. Resolves when the connection is closed. */
  async disconnect(): Promise<void> {
    this.#leaving = true;
    this.#leaveIfIdle();
    const timers = [
      setTimeout(() => this.#leave(), drainFrameMs),
      setTimeout(() => this.#socket.destroy(), drainFrameMs + closeMs),
    ];
    await this.#closed;
    for (const timer of timers) clearTimeout(timer);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const session = this.#session;
    // Bytes after the end are ignored, so that the end is reported only once.
    if (this.#session.end) return;
    const arrivedMs = performance.now();
    const framesBefore = session.frames;
    this.#trace?.received(chunk);
    // Answer first, in one write: HAProxy holds the clients' requests until it has the answer.
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

  // A malformed NOTIFY must not cost the others in its chunk.
  readonly #take: NotifyVisitor = (bytes, start, end, peerFrameBytes) => {
    try {
      this.#options.onNotify(bytes, start, end, peerFrameBytes);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#malformed = error;
    }
  };

  #ended(end: SessionEnd): void {
    const { log } = this.#options;
    const fields = { event: "session-end", peer: this.#peer, kind: end.kind, status: end.code, reason: end.text };
    // Statuses 0 to 2 are normal: a soft stop, a broken client connection, and `timeout idle`.
    if (end.kind === "refused") log.warn(fields, "the agent refused the connection");
    else if (end.kind === "haproxy-disconnect" && end.code > 2) log.warn(fields, "HAProxy disconnected with an error");
    else log.debug(fields);
    this.#socket.end();
    // Do not wait for a peer that does not close.
    const timer = setTimeout(() => this.#socket.destroy(), closeMs);
    this.#socket.once("close", () => clearTimeout(timer));
  }

  #helloMissing(): void {
    if (this.#session.greeted) return;
    const { log, helloDeadlineMs } = this.#options;
    const reason = `no HAPROXY-HELLO within ${helloDeadlineMs / 1_000} s`;
    log.warn(
      { event: "no-hello", peer: this.#peer, reason },
      "connection closed: the peer is not HAProxy's filter spoe",
    );
    this.#socket.destroy();
  }

  #giveUp(reason: string): void {
    if (this.#socket.destroyed) return;
    this.#options.log.warn({ event: "stalled", peer: this.#peer, reason }, "connection closed: it made no progress");
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
