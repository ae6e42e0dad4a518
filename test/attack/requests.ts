import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { get, hello, notify } from "../support/spop/spop-frames.ts";

/** Mirrors requests through an agent as HAProxy does, on one connection. Resolves when the agent has read all of them. */
export async function mirrorRequests(port: number, count: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.resume();
  await once(socket, "connect");
  socket.write(hello());
  for (let i = 0; i < count; i++) {
    const room = socket.write(notify({ streamId: (i % 200) + 1, messages: [get(`/p${i}`)] }));
    if (!room) await once(socket, "drain");
  }
  socket.end();
  await once(socket, "close");
}

/** A shadow that answers after a time and counts. */
export class CountingShadow {
  received = 0;
  readonly #server: Server;

  static async listen(port: number, answerAfterMs = 0): Promise<CountingShadow> {
    const shadow = new CountingShadow(answerAfterMs);
    shadow.#server.listen(port, "127.0.0.1");
    await once(shadow.#server, "listening");
    return shadow;
  }

  private constructor(answerAfterMs: number) {
    this.#server = createServer((request, response) => {
      this.received++;
      request.resume();
      setTimeout(() => response.end(), answerAfterMs);
    });
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** Asks `/healthz` again and again, and returns the longest time that an answer took; all of `patienceMs` if there was none. */
export async function longestAnswerMs(port: number, forMs: number, patienceMs = 10_000): Promise<number> {
  let longestMs = 0;
  for (const endMs = performance.now() + forMs; performance.now() < endMs; await sleep(50)) {
    const startMs = performance.now();
    const signal = AbortSignal.timeout(patienceMs);
    const answered = await fetch(`http://127.0.0.1:${port}/healthz`, { signal }).then(
      async (response) => response.text().then(() => response.ok),
      () => false,
    );
    longestMs = Math.max(longestMs, answered ? performance.now() - startMs : patienceMs);
    if (!answered) break;
  }
  return longestMs;
}
