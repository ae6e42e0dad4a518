import type { Duplex } from "node:stream";

/** How long a peer may take to close after a DISCONNECT. */
export const closeMs = 1_000;

/** Sends what has been written and closes the socket, without waiting for a peer that does not close. */
export function endSocket(socket: Duplex): void {
  socket.end();
  const timer = setTimeout(() => socket.destroy(), closeMs);
  socket.once("close", () => clearTimeout(timer));
}
