import type { Dispatcher } from "undici";
import { Connection, type Shared } from "./connection.ts";
import type { Exchange } from "./exchange.ts";

/** A request that waits for a connection. */
export interface Departure {
  readonly options: Dispatcher.DispatchOptions;
  readonly exchange: Exchange;
  readonly idempotent: boolean;
}

// A server may close a kept connection at any moment. If a request is on its way then, nobody knows whether the server acted
// on it. Most servers close right after an answer, or when the connection has been idle for a second or more. Requests that
// cannot be repeated are sent between these two times, or on a new connection.
const settledAfterMs = 1;
// Used until about ten requests a connection have gone out on connections that were already open.
const settledAtFirstAfterMs = 20;
const firstRequestsEach = 10;
const trustedForMs = 500;
// A shadow that closed a connection right after an answer, without having announced it, may do that each time. For these
// times it gets requests on new connections only: those that can be repeated, and those that cannot.
const repeatableOnNewForMs = 10_000;
const otherOnNewForMs = 600_000;

/** The connections to one target: at most `limit`, not counting old ones whose requests have not ended. */
export class Connections {
  readonly #shared: Shared;
  #limit: number;
  /** The connections that take requests. */
  readonly #current = new Set<Connection>();
  /** Those of `#current` that have room, the last used last. */
  readonly #free: Connection[] = [];
  readonly #retired = new Set<Connection>();
  readonly #waiting: Departure[] = [];
  /** Requests that went out on a connection that was already open. */
  #reuses = 0;
  /** When the shadow last closed a connection right after an answer, without having announced it. */
  #lostAtMs = Number.NEGATIVE_INFINITY;

  constructor(shared: Shared, limit: number) {
    this.#shared = shared;
    this.#limit = limit;
  }

  /** Old connections beyond the limit take no more requests. */
  resize(limit: number): void {
    this.#limit = limit;
    while (this.#current.size > limit && this.#free.length > 0) this.#retire(this.#free[0]);
    this.#serve();
  }

  send(departure: Departure): void {
    this.#waiting.push(departure);
    this.#serve();
  }

  /** Sends no more requests on this connection; those that wait for it go elsewhere. */
  leave(connection: Connection): void {
    if (!this.#current.has(connection)) return;
    this.#retire(connection);
    this.#serve();
  }

  async destroy(): Promise<void> {
    this.#waiting.length = 0;
    await Promise.all([...this.#current, ...this.#retired].map((connection) => connection.destroy()));
  }

  #serve(): void {
    for (;;) {
      const departure = this.#waiting[0];
      if (!departure) return;
      const connection = departure.exchange.over ? undefined : this.#take(departure.idempotent);
      if (!connection && !departure.exchange.over) return;
      this.#waiting.shift();
      if (connection) this.#dispatch(connection, departure);
    }
  }

  /** Undefined if the request has to wait. */
  #take(idempotent: boolean): Connection | undefined {
    const nowMs = this.#shared.now();
    for (let i = this.#free.length - 1; i >= 0; i--) {
      const connection = this.#free[i];
      if (connection.isOld(nowMs)) {
        this.#retire(connection);
        continue;
      }
      // It is free again once one of its requests has ended.
      if (!connection.hasRoom) {
        this.#free.splice(i, 1);
        continue;
      }
      if (!connection.open || connection.multiplexed) return connection;
      const idleMs = nowMs - connection.idleSinceMs;
      const keptSafely = nowMs - this.#lostAtMs > (idempotent ? repeatableOnNewForMs : otherOnNewForMs);
      if (!keptSafely || (!idempotent && idleMs > trustedForMs)) {
        this.#retire(connection);
        break;
      }
      if (idempotent || connection.settled) return connection;
    }
    if (this.#current.size < this.#limit) return this.#open();
    return undefined;
  }

  #open(): Connection {
    const connection = new Connection(this.#shared, (lost) => {
      const nowMs = this.#shared.now();
      if (nowMs - lost.idleSinceMs <= trustedForMs) this.#lostAtMs = nowMs;
    });
    this.#current.add(connection);
    this.#free.push(connection);
    return connection;
  }

  #dispatch(connection: Connection, { options, exchange }: Departure): void {
    if (connection.open) this.#reuses++;
    connection.inFlight++;
    connection.uses++;
    connection.settled = false;
    if (!connection.hasRoom) this.#removeFree(connection);
    exchange.begin(connection, () => {
      // Later: undici first has to see that the connection is idle. It then reads what the shadow has sent since its answer,
      // such as the end of the connection, before it writes the next request.
      queueMicrotask(() => this.#release(connection));
    });
    connection.dispatch(options, exchange);
  }

  #release(connection: Connection): void {
    connection.inFlight--;
    if (this.#retired.has(connection) && connection.inFlight === 0) void connection.destroy();
    if (!this.#current.has(connection)) return;
    if (connection.inFlight === 0) {
      connection.idleSinceMs = this.#shared.now();
      this.#settle(connection);
    }
    this.#removeFree(connection);
    this.#free.push(connection);
    if (this.#current.size > this.#limit) this.#retire(connection);
    this.#serve();
  }

  #retire(connection: Connection): void {
    this.#current.delete(connection);
    this.#removeFree(connection);
    this.#retired.add(connection);
    const forget = () => void this.#retired.delete(connection);
    // undici may still hold requests that timed out before they were written: it would wait for them without end.
    const ended = connection.inFlight === 0 ? connection.destroy() : connection.close();
    ended.then(forget, forget);
  }

  #removeFree(connection: Connection): void {
    // Most often it is the last one.
    const at = this.#free.lastIndexOf(connection);
    if (at >= 0) this.#free.splice(at, 1);
  }

  /** Gives the shadow the time to close the connection, and undici the time to read that. */
  #settle(connection: Connection): void {
    const { uses } = connection;
    const first = this.#reuses < firstRequestsEach * this.#limit;
    setTimeout(
      () =>
        setImmediate(() => {
          if (connection.uses !== uses) return;
          connection.settled = true;
          this.#serve();
        }),
      first ? settledAtFirstAfterMs : settledAfterMs,
    ).unref();
  }
}
