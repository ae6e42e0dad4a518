import type { Duplex } from "node:stream";
import type { Crowd, Member } from "./crowd.ts";
import type { PeerLog } from "./peer-log.ts";

/** Takes connections into the crowd, and unfinished TLS handshakes before them; logs if there are too many. */
export class Admission {
  readonly #crowd: Crowd;
  readonly #limitedBy: string;
  readonly #log: PeerLog;
  /** By the address of the peer. */
  readonly #handshakes = new Map<string, Member>();

  /** @param limitedBy what allows no more connections, for the log. */
  constructor(crowd: Crowd, limitedBy: string, log: PeerLog) {
    this.#crowd = crowd;
    this.#limitedBy = limitedBy;
    this.#log = log;
  }

  /** False if there is no room, because every connection has traffic. */
  admit(member: Member, peer: string): boolean {
    const full = this.#crowd.size >= this.#crowd.limit;
    const admitted = this.#crowd.add(member);
    if (full) {
      const reason = `the agent has all ${this.#crowd.limit} connections that ${this.#limitedBy}`;
      const text =
        "too many connections: each new one takes the place of one without traffic, or is closed if all have traffic";
      this.#log.warn({ event: "crowded", peer, reason }, text);
    }
    return admitted;
  }

  /** Counts a handshake until it ends. Closes the socket and returns false if there is no room. */
  admitHandshake(socket: Duplex, peer: string): boolean {
    // Peers of a unix socket have no address: they are counted after the handshake, and permissions say who may connect.
    if (!peer.includes(":")) return true;
    const member: Member = { completed: 0, leave: () => void socket.destroy() };
    if (!this.admit(member, peer)) {
      socket.destroy();
      return false;
    }
    this.#handshakes.set(peer, member);
    socket.once("close", () => this.#forget(peer, member));
    return true;
  }

  endHandshake(peer: string): void {
    const member = this.#handshakes.get(peer);
    if (member) this.#forget(peer, member);
  }

  #forget(peer: string, member: Member): void {
    this.#crowd.remove(member);
    if (this.#handshakes.get(peer) === member) this.#handshakes.delete(peer);
  }
}
