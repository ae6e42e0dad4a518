import type { Duplex } from "node:stream";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { statusCode } from "../spop/frame.ts";
import type { NotifyVisitor } from "../spop/notify-queue.ts";
import { Refusal } from "../spop/refusal.ts";
import { Session, type SessionEnd } from "../spop/session.ts";
import { Answers } from "./answers.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import type { Member } from "./crowd.ts";
import { FrameTrace } from "./frame-trace.ts";
import type { Holder } from "./held-bytes.ts";
import { ownerOf } from "./peer-name.ts";
import { Progress } from "./progress.ts";
import { ReadAhead } from "./read-ahead.ts";
import { closeMs, endSocket } from "./socket-end.ts";
import type { Task } from "./turns.ts";

// Frames of a chunk that are read at once, in less than 0.2 ms. A chunk of 64 KiB can have 6,000.
const framesAtOnce = 256;
// What a paused peer may send after its turn is read in about this time, whatever is in it.
const readMs = 0.2;
// A chunk or messages of at most this size are read at once, in less than 0.2 ms. Larger ones take their turn.
const smallBytes = 4096;
// HAProxy reads its ACKs. A peer that does not read them must not fill our memory.
const maxUnreadBytes = 1024 * 1024;
// How long a draining connection waits for the rest of a frame before it is closed anyway.
const drainFrameMs = 1_000;

/** Moves bytes between a peer and its session. Owns the socket, and catches errors of the session and the intake. */
export class Connection implements Holder, Member {
  readonly #socket: Duplex;
  readonly #session: Session;
  readonly #options: ConnectionOptions;
  readonly #peer: string;
  readonly #trace: FrameTrace | undefined;
  readonly #closed: Promise<unknown>;
  readonly #helloDeadline: NodeJS.Timeout;
  #stage: "silent" | "greeted" | "active" = "silent";
  #oversizeNotifies = 0;
  #malformed: DecodeError | undefined;
  #leaving = false;
  readonly #answers: Answers;
  readonly #progress: Progress;
  readonly #readAhead = new ReadAhead();
  readonly #task: Task;
  /** When the last chunk arrived. */
  #arrivedMs = 0;
  #ended = false;
  #evicted = false;

  constructor(socket: Duplex, peer: string, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#session = new Session(options.maxFrameBytes);
    this.#answers = new Answers(socket);
    this.#peer = peer;
    this.#progress = new Progress(options.idleMs, performance.now());
    this.#task = { owner: ownerOf(peer), work: (hasTime) => this.#takeTurn(hasTime) };
    this.#trace = FrameTrace.create(peer);
    this.#closed = new Promise((resolve) => socket.once("close", resolve));
    this.#helloDeadline = setTimeout(() => this.#helloMissing(), options.helloDeadlineMs);
    socket.once("close", () => this.#forget());
    // A reset or an end without DISCONNECT is normal: HAProxy 3.1 and newer close idle connections this way.
    socket.on("error", (error) => options.log.debug({ event: "socket", peer, reason: error.message }));
    socket.on("data", (chunk) => this.#receive(chunk));
  }

  get completed(): number {
    return this.#session.completed;
  }

  get heldBytes(): number {
    return this.#session.heldBytes + this.#session.untakenBytes + this.#answers.heldBytes;
  }

  /**
   * Ends the connection if a frame or a message that was unfinished at the last call still is, or if the peer has read no ACK since,
   * or if no message has arrived for `idleMs`. HAProxy may keep an idle connection for hours, and replaces one that is closed.
   */
  checkProgress(): void {
    // The peer cannot continue before its turn.
    if (this.#socket.isPaused()) return;
    const session = this.#session;
    const { completed, idle } = session;
    const { writtenBytes, unreadBytes } = this.#answers;
    const figures = { completed, stuck: session.checkUnfinished(), idle, writtenBytes, unreadBytes };
    const found = this.#progress.look(figures, performance.now());
    if (found === undefined) this.#account();
    else if (found === "expired") this.#expire();
    else this.#giveUp(found.stalled);
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

  /** Ends the connection because all of them together hold too much, and this one most. */
  evict(heldBytes: number): void {
    this.#evicted = true;
    const { log, heldBytes: all } = this.#options;
    const reason = `the connections hold more than ${all.limitBytes} bytes (agent.connectionBuffer), and this one most`;
    log.warn({ event: "evicted", peer: this.#peer, reason, heldBytes }, "connection closed: it holds too much memory");
    this.#endWith(reason);
  }

  /** Ends the connection because the agent has no descriptor for another one. */
  leave(): void {
    this.#endWith("the agent needs the descriptor of this connection for another one");
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    const session = this.#session;
    // Bytes after the end are ignored, so that the end is reported only once.
    if (this.#session.end) return;
    const { turns, isHealthy } = this.#options;
    this.#arrivedMs = performance.now();
    const framesBefore = session.frames;
    // Those that wait for their turn come first.
    const behind = session.untaken > 0;
    this.#trace?.received(chunk);
    // Answer first, in one write: HAProxy holds the clients' requests until it has the answer.
    const reply = session.receive(chunk, framesAtOnce);
    if (session.end?.kind === "health-check" && !isHealthy()) return void this.#socket.destroy();
    this.#answer(reply, session.frames - framesBefore);
    if (behind || session.hasMore || Math.max(chunk.length, session.untakenBytes) > smallBytes) {
      this.#readAhead.add(chunk.length, session.frames - framesBefore);
      turns.begin(this.#task, this.#arrivedMs);
      if (session.hasMore || this.#readAhead.full) this.#socket.pause();
    } else this.#takeNotifies();
    this.#settle();
  }

  #answer(reply: Buffer, frames: number): void {
    const session = this.#session;
    if (reply.length > 0) {
      this.#write(reply);
      this.#options.onAnswered?.(performance.now() - this.#arrivedMs, frames);
    }
    if (this.#stage !== "active") this.#rise();
    if (session.oversizeNotifies !== this.#oversizeNotifies) {
      this.#options.onOversize(session.oversizeNotifies - this.#oversizeNotifies);
      this.#oversizeNotifies = session.oversizeNotifies;
    }
  }

  /** Passes on NOTIFYs and reads the rest of the chunk that they came in, while there is time. Returns true if some is left. */
  #takeTurn(hasTime: () => boolean): boolean {
    const session = this.#session;
    this.#takeNotifies(hasTime);
    while (session.hasMore && session.untaken === 0 && hasTime()) {
      this.#proceed();
      this.#takeNotifies(hasTime);
    }
    this.#readAhead.restart(session.untakenBytes, session.untaken);
    if (this.#socket.isPaused() && !session.hasMore && !this.#readAhead.full) {
      this.#options.turns.charge(readMs);
      this.#socket.resume();
    }
    this.#settle();
    return session.untaken > 0 || session.hasMore;
  }

  /** Reads and answers more frames of the last chunk. */
  #proceed(): void {
    const framesBefore = this.#session.frames;
    const reply = this.#session.proceed(framesAtOnce);
    this.#answer(reply, this.#session.frames - framesBefore);
  }

  #takeNotifies(hasTime?: () => boolean): void {
    this.#session.takeNotifies(this.#take, hasTime);
    if (this.#malformed && !this.#session.end) this.#write(this.#session.reject(this.#malformed));
  }

  #settle(): void {
    const { end } = this.#session;
    if (end) this.#report(end);
    else if (this.#answers.unreadBytes > maxUnreadBytes) this.#giveUp("the peer does not read its ACKs");
    if (this.#leaving) this.#leaveIfIdle();
    this.#account();
  }

  /** Tells the crowd that a HELLO or a first NOTIFY has arrived. */
  #rise(): void {
    const { greeted, completed } = this.#session;
    const { crowd } = this.#options;
    if (!greeted) return;
    clearTimeout(this.#helloDeadline);
    if (completed > 0) {
      this.#stage = "active";
      crowd.activate(this);
    } else if (this.#stage === "silent") {
      this.#stage = "greeted";
      crowd.greet(this);
    }
  }

  #account(): void {
    const gone = this.#socket.destroyed || this.#evicted;
    this.#options.heldBytes.hold(this, gone ? this.#session.untakenBytes : this.heldBytes);
  }

  #forget(): void {
    clearTimeout(this.#helloDeadline);
    this.#options.crowd.remove(this);
    this.#account();
  }

  #write(reply: Buffer): void {
    this.#trace?.sent(reply);
    this.#answers.write(reply);
  }

  // A malformed NOTIFY must not cost the others in its chunk.
  readonly #take: NotifyVisitor = (bytes, start, end, peerFrameBytes, progress) => {
    try {
      this.#options.onNotify(bytes, start, end, peerFrameBytes, progress);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#malformed = error;
    }
  };

  #report(end: SessionEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    const { log } = this.#options;
    const fields = { event: "session-end", peer: this.#peer, kind: end.kind, status: end.code, reason: end.text };
    // Statuses 0 to 2 are normal: a soft stop, a broken client connection, and `timeout idle`.
    if (end.kind === "refused") log.warn(fields, "the agent refused the connection");
    else if (end.kind === "haproxy-disconnect" && end.code > 2) log.warn(fields, "HAProxy disconnected with an error");
    else log.debug(fields);
    endSocket(this.#socket);
  }

  /** Ends the session with a DISCONNECT, and frees what the connection holds. */
  #endWith(reason: string): void {
    // These NOTIFYs have been acknowledged.
    this.#options.turns.forget(this.#task);
    while (this.#session.hasMore) this.#proceed();
    this.#takeNotifies(() => true);
    this.#ended = true;
    const unread = this.#answers.unreadBytes > 0;
    const goodbye = this.#session.end ? undefined : this.#session.reject(new Refusal(statusCode.resource, reason));
    // A peer that does not read gets no DISCONNECT: its answers would stay in memory.
    if (unread || goodbye === undefined) return void this.#socket.destroy();
    this.#write(goodbye);
    endSocket(this.#socket);
  }

  #expire(): void {
    const { idleMs, log } = this.#options;
    const reason = `no message for ${idleMs / 1_000} s`;
    log.debug({ event: "idle", peer: this.#peer, reason });
    this.#write(this.#session.disconnect(reason));
    endSocket(this.#socket);
  }

  #helloMissing(): void {
    if (this.#session.greeted) return;
    const { log, helloDeadlineMs } = this.#options;
    const reason = `no HAPROXY-HELLO within ${helloDeadlineMs / 1_000} s`;
    const text = "connection closed: the peer is not HAProxy's filter spoe";
    log.warn({ event: "no-hello", peer: this.#peer, reason }, text);
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
    while (this.#session.hasMore) this.#proceed();
    this.#write(this.#session.disconnect("the agent stops"));
    this.#socket.end();
  }
}
