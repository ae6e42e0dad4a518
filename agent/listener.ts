import { once } from "node:events";
import { lstatSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { ListenAddress } from "../relay/config-schema.ts";
import { DecodeError } from "../relay/decode-error.ts";
import type { Logger } from "../relay/log.ts";
import { type NotifyVisitor, Session, type SessionEnd } from "./spop/session.ts";

export interface ListenerOptions {
  readonly address: ListenAddress;
  readonly maxFrameBytes: number;
  /** Takes the payload of a NOTIFY that has been acknowledged. May throw `DecodeError`. */
  readonly onNotify: NotifyVisitor;
  /** Messages that were acknowledged and thrown away for their size. */
  readonly onOversize: (count: number) => void;
  readonly log: Logger;
}

// HAProxy says HELLO at once; whoever does not is no HAProxy.
const helloDeadlineMs = 5_000;
const keepAliveMs = 30_000;
// HAProxy reads its ACKs; a peer that does not must not fill our memory with them.
const maxUnreadBytes = 1024 * 1024;
// How long a frame that has begun may take to arrive before a draining connection is closed all the same.
const drainFrameMs = 1_000;
// How long the peer may take to close after a DISCONNECT.
const closeMs = 1_000;
const backlog = 4_096;

/** Accepts connections from HAProxy and moves bytes between them and their sessions. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #connections = new Set<Connection>();
  readonly #server: Server;
  #healthy = true;
  /** Connections accepted since the start, health checks included. */
  accepted = 0;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }, (socket) => {
      this.accepted++;
      const connection = new Connection(socket, options, () => this.#healthy);
      this.#connections.add(connection);
      socket.once("close", () => this.#connections.delete(connection));
    });
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Resolves with the address in words once connections are accepted. Rejects with a text that says what to do. */
  async listen(): Promise<string> {
    const { address } = this.#options;
    if (address.kind === "unix") await removeStaleSocket(address.path);
    const listening = once(this.#server, "listening");
    if (address.kind === "unix") this.#server.listen({ path: address.path, backlog });
    else this.#server.listen({ host: address.host, port: address.port, backlog });
    try {
      await listening;
    } catch (error) {
      throw listenError(address, error as NodeJS.ErrnoException);
    }
    const bound = this.#server.address();
    return bound === null || typeof bound === "string" ? `unix:${bound}` : `${bound.address}:${bound.port}`;
  }

  /** Fails health checks, so that HAProxy looks for another agent, and goes on with everything else. */
  failHealthChecks(): void {
    this.#healthy = false;
  }

  /** Accepts no more connections; those that are there go on. */
  stopAccepting(): void {
    this.#server.close();
  }

  /** Says goodbye on every connection and resolves when all are closed; accepts no more. */
  async disconnect(): Promise<void> {
    this.stopAccepting();
    await Promise.all([...this.#connections].map((connection) => connection.disconnect()));
  }

  destroy(): void {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #session: Session;
  readonly #options: ListenerOptions;
  readonly #isHealthy: () => boolean;
  readonly #peer: string;
  readonly #closed: Promise<unknown>;
  #oversizeNotifies = 0;
  #malformed: DecodeError | undefined;
  #leaving = false;

  constructor(socket: Socket, options: ListenerOptions, isHealthy: () => boolean) {
    this.#socket = socket;
    this.#options = options;
    this.#isHealthy = isHealthy;
    this.#session = new Session(options.maxFrameBytes);
    this.#peer = socket.remoteAddress === undefined ? "unix" : `${socket.remoteAddress}:${socket.remotePort}`;
    this.#closed = new Promise((resolve) => socket.once("close", resolve));
    const deadline = setTimeout(() => this.#helloMissing(), helloDeadlineMs);
    socket.once("close", () => clearTimeout(deadline));
    // A reset or an end without DISCONNECT is normal: HAProxy 3.1 and newer close idle connections so.
    socket.on("error", (error) => options.log.debug({ event: "socket", peer: this.#peer, reason: error.message }));
    socket.on("data", (chunk) => {
      this.#receive(chunk);
      if (this.#session.greeted) clearTimeout(deadline);
    });
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
    const socket = this.#socket;
    // The answer first, in one write: HAProxy holds the clients' requests until it has it.
    const reply = session.receive(chunk);
    if (session.end?.kind === "health-check" && !this.#isHealthy()) return void socket.destroy();
    if (reply.length > 0) socket.write(reply);
    session.takeNotifies(this.#take);
    if (this.#malformed && !session.end) socket.write(session.reject(this.#malformed));
    if (session.oversizeNotifies !== this.#oversizeNotifies) {
      this.#options.onOversize(session.oversizeNotifies - this.#oversizeNotifies);
      this.#oversizeNotifies = session.oversizeNotifies;
    }
    if (session.end) this.#ended(session.end);
    else if (socket.writableLength > maxUnreadBytes) socket.destroy(new Error("the peer does not read its ACKs"));
    if (this.#leaving) this.#leaveIfIdle();
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
    this.#options.log.warn({ event: "no-hello", peer: this.#peer }, "connection closed: no HAPROXY-HELLO within 5 s");
    this.#socket.destroy();
  }

  #leaveIfIdle(): void {
    if (this.#session.idle) this.#leave();
  }

  #leave(): void {
    const { writableEnded, destroyed } = this.#socket;
    if (writableEnded || destroyed) return;
    this.#socket.end(this.#session.disconnect("the agent stops"));
  }
}

/** A socket file that nobody listens on any more would keep the agent from starting. */
async function removeStaleSocket(path: string): Promise<void> {
  const probe = connect({ path });
  const alive = await once(probe, "connect").then(
    () => true,
    () => false,
  );
  probe.destroy();
  if (alive) throw new Error(`agent.listen: another process listens on unix:${path}`);
  try {
    if (lstatSync(path).isSocket()) unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function listenError(address: ListenAddress, error: NodeJS.ErrnoException): Error {
  const place = address.kind === "unix" ? `unix:${address.path}` : `${address.host}:${address.port}`;
  const advice: Record<string, string> = {
    EADDRINUSE: "another process listens there; stop it, or choose another agent.listen",
    EADDRNOTAVAIL: "this machine has no such address; mend agent.listen",
    EACCES: "not permitted; use a port above 1023, or a directory you may write to",
    ENOTFOUND: "the host name is unknown; mend agent.listen",
    ENOENT: "the directory of the socket does not exist",
  };
  return new Error(`agent.listen: cannot listen on ${place}: ${advice[error.code ?? ""] ?? error.message}`, {
    cause: error,
  });
}
