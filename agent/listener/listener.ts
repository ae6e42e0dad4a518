import cluster from "node:cluster";
import { once } from "node:events";
import { BlockList, connect, createServer, isIPv6, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import type { AddressRange } from "../../relay/config/address-range.ts";
import { readCertificates } from "../../relay/config/certificates.ts";
import type { ListenerTls, SocketFile } from "../../relay/config/config.ts";
import type { ListenAddress } from "../../relay/config/forms.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import { Admission } from "./admission.ts";
import { Connection } from "./connection.ts";
import { connectionLimit } from "./connection-limit.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { Crowd } from "./crowd.ts";
import { HeldBytes } from "./held-bytes.ts";
import { listenError } from "./listen-error.ts";
import { PeerLog } from "./peer-log.ts";
import { peerOf } from "./peer-name.ts";
import { createProgressLook } from "./progress-look.ts";
import { applySocketFile, removeSocketFile } from "./socket-file.ts";
import { tlsConnectionLimit } from "./tls-connection-limit.ts";
import { handshakeMistake } from "./tls-handshake.ts";
import { Turns } from "./turns.ts";

type OfConnections = "maxFrameBytes" | "onNotify" | "onOversize" | "onAnswered";

export interface ListenerOptions extends Pick<ConnectionOptions, OfConnections> {
  readonly address: ListenAddress;
  readonly tls?: ListenerTls;
  /** The only peers that may connect. */
  readonly allow?: readonly AddressRange[];
  readonly socket?: SocketFile;
  readonly helloDeadlineMs?: number;
  /** How long a frame or a message may take to arrive, and ACKs may stay unread; twice as long in the worst case. */
  readonly stallMs?: number;
  /** How long a connection may stay open without a message. */
  readonly idleMs?: number;
  /**
   * The most that all connections may hold: half-received messages, and ACKs that peers have not read. It is raised to the size
   * of one frame if it is smaller.
   */
  readonly maxHeldBytes?: number;
  /** The most connections; by default what the limit of open files allows. */
  readonly maxConnections?: number;
  readonly log: Logger;
}

const keepAliveMs = 30_000;
// Ten times `timeout idle` of agent/haproxy/spoe.cfg: HAProxy closes its idle connections before.
const defaultIdleMs = 300_000;
const defaultHeldBytes = 64 * 1024 * 1024;
// A chunk with the end of the largest frame and the beginning of another.
const frameMarginBytes = 256 * 1024;
const backlog = 4_096;

/** Accepts connections from HAProxy, with or without TLS, and creates a `Connection` for each. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #connectionOptions: ConnectionOptions;
  readonly #peerLog: PeerLog;
  readonly #refusedLog = new Throttle();
  readonly #accepting: Outage;
  readonly #allowed: BlockList | undefined;
  readonly #connections = new Set<Connection>();
  readonly #heldBytes: HeldBytes;
  readonly #admission: Admission;
  readonly #turns = new Turns();
  /** Sockets of the connections, and sockets whose TLS handshake has not finished. */
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #tlsServer: TlsServer | undefined;
  readonly #progressTimer: NodeJS.Timeout;
  #healthy = true;
  #disconnecting = false;
  /** Connections accepted since the start, health checks included. */
  accepted = 0;
  /** Connections closed at once, because the peer is not on the allow list. */
  refused = 0;

  /** Throws `ConfigError` if the certificates cannot be used. */
  constructor(options: ListenerOptions) {
    const { maxFrameBytes, helloDeadlineMs = 5_000, stallMs = 30_000, idleMs = defaultIdleMs } = options;
    const { onNotify, onOversize, onAnswered, log } = options;
    this.#options = options;
    this.#peerLog = new PeerLog(log);
    this.#heldBytes = new HeldBytes(
      Math.max(options.maxHeldBytes ?? defaultHeldBytes, maxFrameBytes + frameMarginBytes),
    );
    const limit = options.maxConnections ?? connectionLimit();
    const tlsLimit = options.tls ? tlsConnectionLimit(this.#heldBytes.limitBytes) : limit;
    const crowd = new Crowd(Math.min(limit, tlsLimit));
    const limitedBy = tlsLimit < limit ? "agent.connectionBuffer allows with TLS" : "its limit of open files allows";
    this.#admission = new Admission(crowd, limitedBy, this.#peerLog);
    this.#connectionOptions = {
      maxFrameBytes,
      helloDeadlineMs,
      idleMs,
      heldBytes: this.#heldBytes,
      turns: this.#turns,
      crowd,
      onNotify,
      onOversize,
      ...(onAnswered && { onAnswered }),
      isHealthy: () => this.#healthy,
      log: this.#peerLog,
    };
    this.#allowed = options.allow && toBlockList(options.allow);
    if (options.tls) this.#tlsServer = this.#createTlsServer(options.tls);
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }, (socket) =>
      this.#accept(socket),
    );
    this.#accepting = new Outage(options.log, {
      down: ["accept", "a new connection could not be accepted; open ones continue"],
      up: ["accept-resumed", "new connections are accepted again"],
    });
    const look = createProgressLook(this.#connections);
    this.#progressTimer = setInterval(() => this.#turns.begin(look), stallMs).unref();
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Bytes of half-received messages, and of ACKs that peers have not read. */
  get heldBytes(): number {
    return this.#heldBytes.total;
  }

  /** Connections that the agent ended because of the peer, by the event in the log. */
  get refusals(): ReadonlyMap<string, number> {
    return new Map([["not-allowed", this.refused], ["evicted", 0], ["crowded", 0], ...this.#peerLog.counts]);
  }

  /** Resolves with the address as text once connections are accepted. Rejects with an error that says what to do. */
  async listen(): Promise<string> {
    const { address, socket } = this.#options;
    // The workers of an agent share one socket; the first process has removed a stale socket file already.
    if (address.kind === "unix" && !cluster.isWorker) await removeStaleSocket(address.path);
    const listening = once(this.#server, "listening");
    if (address.kind === "unix") this.#listenOnFile(address.path, socket);
    else this.#server.listen({ host: address.host, port: address.port, backlog });
    try {
      await listening;
    } catch (error) {
      throw listenError(address, error as NodeJS.ErrnoException);
    }
    // For example, no free file descriptors: open connections continue, and later ones may be accepted again.
    this.#server.on("error", (error) => this.#accepting.fail(error.message));
    if (address.kind === "unix" && socket) this.#applySocketFile(address.path, socket);
    const bound = this.#server.address();
    return bound === null || typeof bound === "string" ? `unix:${bound}` : `${bound.address}:${bound.port}`;
  }

  /** Reads the certificates again, for new connections. Keeps the old certificates if the new ones cannot be used. */
  reloadCertificates(): void {
    const { tls, log } = this.#options;
    if (!tls || !this.#tlsServer) return;
    try {
      const { pem, ...fields } = readCertificates(tls, Date.now());
      this.#tlsServer.setSecureContext(pem);
      log.info({ event: "certificates", ...fields }, "certificates reloaded: new connections use them");
    } catch (error) {
      const { message: reason } = error as Error;
      log.error({ event: "certificates", reason }, "certificates not reloaded: the agent keeps using the old ones");
    }
  }

  /** Fails health checks, so that HAProxy chooses another agent. Everything else continues. */
  failHealthChecks(): void {
    this.#healthy = false;
  }

  /** Accepts no more connections; open ones continue. */
  stopAccepting(): void {
    this.#server.close();
  }

  /** Stops accepting, disconnects every connection, and resolves when all are closed. */
  async disconnect(): Promise<void> {
    this.stopAccepting();
    this.#disconnecting = true;
    await Promise.all([...this.#connections].map((connection) => connection.disconnect()));
    this.#turns.finish();
    this.destroy();
  }

  destroy(): void {
    clearInterval(this.#progressTimer);
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#accepting.recover();
    if (!this.#isAllowed(socket)) return this.#refuse(socket);
    this.accepted++;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    if (!this.#tlsServer) return this.#serve(socket);
    if (this.#admission.admitHandshake(socket, peerOf(socket))) this.#tlsServer.emit("connection", socket);
  }

  #serve(socket: Socket): void {
    // A TLS handshake that began before the stop. Nobody would wait for its messages.
    if (this.#disconnecting) return void socket.destroy();
    const peer = peerOf(socket);
    const connection = new Connection(socket, peer, this.#connectionOptions);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
    if (!this.#admission.admit(connection, peer)) connection.destroy();
  }

  #isAllowed({ remoteAddress, destroyed }: Socket): boolean {
    if (!this.#allowed) return true;
    // A peer that has already closed has no address.
    if (remoteAddress === undefined || destroyed) return false;
    const [address] = remoteAddress.split("%");
    return this.#allowed.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }

  #refuse(socket: Socket): void {
    const peer = peerOf(socket);
    socket.destroy();
    this.refused++;
    this.#refusedLog.run(performance.now(), (heldBack) =>
      this.#options.log.warn(
        { event: "not-allowed", peer, heldBack },
        "the agent refused the connection: the peer's address is not in agent.allow",
      ),
    );
  }

  // This server never listens: it receives the sockets that `#accept` allowed.
  #createTlsServer(tls: ListenerTls): TlsServer {
    const { pem, ...fields } = readCertificates(tls, Date.now());
    const { log } = this.#options;
    if (fields.expired) {
      log.error(
        { event: "certificates", ...fields },
        "the certificate in agent.tls.cert has expired: replace it, then send SIGHUP to the agent",
      );
    }
    const clientCertificates = tls.clientCa !== undefined;
    const server = createTlsServer({
      ...pem,
      requestCert: clientCertificates,
      rejectUnauthorized: clientCertificates,
      handshakeTimeout: this.#connectionOptions.helloDeadlineMs,
    });
    server.on("secureConnection", (socket) => {
      this.#admission.endHandshake(peerOf(socket));
      this.#serve(socket);
    });
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      const peer = peerOf(socket);
      const reason = handshakeMistake(error, socket.authorizationError);
      if (reason === undefined) log.debug({ event: "tls", peer, reason: error.message });
      else this.#peerLog.warn({ event: "tls", peer, reason }, "TLS handshake failed");
      socket.destroy();
    });
    return server;
  }

  #listenOnFile(path: string, { mode }: SocketFile = {}): void {
    // The umask gives the socket its mode from the start: nobody may connect before the permissions are set.
    const umask = mode === undefined ? undefined : process.umask(0o777 & ~mode);
    this.#server.listen({ path, backlog });
    if (umask !== undefined) process.umask(umask);
  }

  #applySocketFile(path: string, file: SocketFile): void {
    try {
      applySocketFile(path, file);
    } catch (error) {
      this.destroy();
      throw error;
    }
  }
}

function toBlockList(ranges: readonly AddressRange[]): BlockList {
  const list = new BlockList();
  for (const { address, prefixBits, family } of ranges) list.addSubnet(address, prefixBits, family);
  return list;
}

/**
 * Removes a stale socket file, which would keep the agent from starting. Rejects if a process listens on the socket.
 */
export async function removeStaleSocket(path: string, key = "agent.listen"): Promise<void> {
  const probe = connect({ path });
  const alive = await once(probe, "connect").then(
    () => true,
    () => false,
  );
  probe.destroy();
  if (alive) throw new Error(`${key}: another process listens on unix:${path}; stop it, or choose another ${key}`);
  removeSocketFile(path);
}
