import cluster from "node:cluster";
import { once } from "node:events";
import { BlockList, connect, createServer, isIPv6, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer } from "node:tls";
import type { AddressRange } from "../../relay/config/address-range.ts";
import type { ListenerTls, SocketFile } from "../../relay/config/config.ts";
import type { ListenAddress } from "../../relay/config/forms.ts";
import { type Logger, Throttle } from "../../relay/log/log.ts";
import { handshakeMistake, readCertificates } from "./certificates.ts";
import { Connection, type ConnectionOptions } from "./connection.ts";
import { PeerLog } from "./peer-log.ts";
import { applySocketFile, removeSocketFile } from "./socket-file.ts";

type OfConnections = "maxFrameBytes" | "onNotify" | "onOversize" | "onAnswered";

export interface ListenerOptions extends Pick<ConnectionOptions, OfConnections> {
  readonly address: ListenAddress;
  readonly tls?: ListenerTls;
  /** The only peers that may connect. */
  readonly allow?: readonly AddressRange[];
  readonly socket?: SocketFile;
  readonly helloDeadlineMs?: number;
  /** How long a frame that has begun, or an ACK that is not read, may stand still; up to twice as long in the worst case. */
  readonly stallMs?: number;
  readonly log: Logger;
}

const keepAliveMs = 30_000;
const backlog = 4_096;

/** Accepts connections from HAProxy, TLS or not, and hands them to a `Connection` each. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #connectionOptions: ConnectionOptions;
  readonly #peerLog: PeerLog;
  readonly #refusedLog = new Throttle();
  readonly #allowed: BlockList | undefined;
  readonly #connections = new Set<Connection>();
  /** Those of the connections, and those whose TLS handshake is under way. */
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #tlsServer: TlsServer | undefined;
  readonly #progressTimer: NodeJS.Timeout;
  #healthy = true;
  /** Connections accepted since the start, health checks included. */
  accepted = 0;
  /** Connections closed at once, because the peer is not on the allow list. */
  refused = 0;

  /** Throws `ConfigError` where certificates cannot be used. */
  constructor(options: ListenerOptions) {
    const { maxFrameBytes, helloDeadlineMs = 5_000, stallMs = 30_000, onNotify, onOversize, onAnswered, log } = options;
    this.#options = options;
    this.#peerLog = new PeerLog(log);
    this.#connectionOptions = {
      maxFrameBytes,
      helloDeadlineMs,
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
    this.#progressTimer = setInterval(() => {
      for (const connection of this.#connections) connection.checkProgress();
    }, stallMs).unref();
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Connections ended because of what the peer is or did, by the event in the log. */
  get refusals(): ReadonlyMap<string, number> {
    return new Map([["not-allowed", this.refused], ...this.#peerLog.counts]);
  }

  /** Resolves with the address in words once connections are accepted. Rejects with a text that says what to do. */
  async listen(): Promise<string> {
    const { address, socket, log } = this.#options;
    // The workers of an agent share one socket, which the first process has made room for.
    if (address.kind === "unix" && !cluster.isWorker) await removeStaleSocket(address.path);
    const listening = once(this.#server, "listening");
    if (address.kind === "unix") this.#listenOnFile(address.path, socket);
    else this.#server.listen({ host: address.host, port: address.port, backlog });
    try {
      await listening;
    } catch (error) {
      throw listenError(address, error as NodeJS.ErrnoException);
    }
    const acceptLog = new Throttle();
    // Out of descriptors, for example: those who are connected go on, and later ones may get in again.
    this.#server.on("error", (error) =>
      acceptLog.run(Date.now(), (heldBack) =>
        log.error({ event: "accept", reason: error.message, heldBack }, "a connection could not be accepted"),
      ),
    );
    if (address.kind === "unix" && socket) this.#applySocketFile(address.path, socket);
    const bound = this.#server.address();
    return bound === null || typeof bound === "string" ? `unix:${bound}` : `${bound.address}:${bound.port}`;
  }

  /** Reads the certificates again, for the connections to come. Where they cannot be used, the old ones stay. */
  reloadCertificates(): void {
    const { tls, log } = this.#options;
    if (!tls || !this.#tlsServer) return;
    try {
      const { pem, ...fields } = readCertificates(tls, Date.now());
      this.#tlsServer.setSecureContext(pem);
      log.info({ event: "certificates", ...fields }, "certificates read again");
    } catch (error) {
      const { message: reason } = error as Error;
      log.error({ event: "certificates", reason }, "certificates not read again: the old ones stay in use");
    }
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
    this.destroy();
  }

  destroy(): void {
    clearInterval(this.#progressTimer);
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    if (!this.#isAllowed(socket)) return this.#refuse(socket);
    this.accepted++;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    if (this.#tlsServer) this.#tlsServer.emit("connection", socket);
    else this.#serve(socket);
  }

  #serve(socket: Socket): void {
    const connection = new Connection(socket, peerOf(socket), this.#connectionOptions);
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
  }

  #isAllowed({ remoteAddress, destroyed }: Socket): boolean {
    if (!this.#allowed) return true;
    // A peer that has gone already has no address.
    if (remoteAddress === undefined || destroyed) return false;
    const [address] = remoteAddress.split("%");
    return this.#allowed.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  }

  #refuse(socket: Socket): void {
    const peer = peerOf(socket);
    socket.destroy();
    this.refused++;
    this.#refusedLog.run(Date.now(), (heldBack) =>
      this.#options.log.warn({ event: "not-allowed", peer, heldBack }, "connection refused: see agent.allow"),
    );
  }

  // This server never listens: it is given the sockets that were let in.
  #createTlsServer(tls: ListenerTls): TlsServer {
    const { pem, ...fields } = readCertificates(tls, Date.now());
    const { log } = this.#options;
    if (fields.expired) log.error({ event: "certificates", ...fields }, "the certificate of agent.tls has expired");
    const clientCertificates = tls.clientCa !== undefined;
    const server = createTlsServer({
      ...pem,
      requestCert: clientCertificates,
      rejectUnauthorized: clientCertificates,
      handshakeTimeout: this.#connectionOptions.helloDeadlineMs,
    });
    server.on("secureConnection", (socket) => this.#serve(socket));
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      const peer = peerOf(socket);
      const reason = handshakeMistake(error, socket.authorizationError);
      if (reason === undefined) log.debug({ event: "tls", peer, reason: error.message });
      else this.#peerLog.warn({ event: "tls", peer, reason }, "connection refused");
      socket.destroy();
    });
    return server;
  }

  #listenOnFile(path: string, { mode }: SocketFile = {}): void {
    // So that nobody gets in before the permissions are set.
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

function peerOf({ remoteAddress, remotePort, destroyed }: Socket): string {
  if (remoteAddress !== undefined) return `${remoteAddress}:${remotePort}`;
  return destroyed ? "gone" : "unix";
}

function toBlockList(ranges: readonly AddressRange[]): BlockList {
  const list = new BlockList();
  for (const { address, prefixBits, family } of ranges) list.addSubnet(address, prefixBits, family);
  return list;
}

/** A socket file that nobody listens on any more would keep the agent from starting. */
export async function removeStaleSocket(path: string, key = "agent.listen"): Promise<void> {
  const probe = connect({ path });
  const alive = await once(probe, "connect").then(
    () => true,
    () => false,
  );
  probe.destroy();
  if (alive) throw new Error(`${key}: another process listens on unix:${path}`);
  removeSocketFile(path);
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
