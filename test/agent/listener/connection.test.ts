import { Duplex } from "node:stream";
import { setImmediate as nextRound } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { Connection } from "../../../agent/listener/connection.ts";
import type { ConnectionOptions } from "../../../agent/listener/connection-options.ts";
import { Crowd } from "../../../agent/listener/crowd.ts";
import { HeldBytes, type Holder } from "../../../agent/listener/held-bytes.ts";
import { PeerLog } from "../../../agent/listener/peer-log.ts";
import { Turns } from "../../../agent/listener/turns.ts";
import { until } from "../../support/clocks/until.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { frame, hello, notify, readAgentFrames } from "../../support/spop/spop-frames.ts";

/** A socket whose peer reads an answer when the test says so. */
class HeldSocket extends Duplex {
  readonly #written: Buffer[] = [];
  #unread: (() => void)[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#written.push(chunk);
    this.#unread.push(done);
  }

  /** Reads what has been written so far, and returns the types of all frames since the beginning. */
  async readAnswers(): Promise<string[]> {
    while (this.#unread.length > 0) {
      for (const done of this.#unread.splice(0)) done();
      await nextRound();
    }
    return readAgentFrames(this.written).map(({ type }) => type);
  }

  get written(): Buffer {
    return Buffer.concat(this.#written);
  }

  async send(bytes: Buffer): Promise<void> {
    this.push(bytes);
    await nextRound();
  }
}

const sockets: HeldSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

function connect(changes: Partial<ConnectionOptions> = {}) {
  const socket = new HeldSocket();
  sockets.push(socket);
  const logged = new LogLines();
  const connection = new Connection(socket, "127.0.0.1:1", {
    maxFrameBytes: 1024 * 1024,
    helloDeadlineMs: 5_000,
    idleMs: 300_000,
    heldBytes: new HeldBytes(1024 * 1024),
    turns: new Turns(),
    crowd: new Crowd(10),
    onNotify: () => {},
    onOversize: () => {},
    isHealthy: () => true,
    log: new PeerLog(logged.log),
    ...changes,
  });
  return { socket, connection, logged };
}

describe("a connection", () => {
  it("is counted again after it was found to hold less", async () => {
    const heldBytes = new HeldBytes(1_000);
    const { socket, logged } = connect({ heldBytes });
    await socket.send(hello());
    await socket.readAnswers();
    await socket.send(notify());
    const unreadBytes = heldBytes.total;
    // The peer reads its ACK, and others hold so much that this connection is asked what it still holds.
    await socket.readAnswers();
    const holderOf = (bytes: number): Holder => ({ heldBytes: bytes, evict: () => {} });
    for (let i = 0; i < 2; i++) heldBytes.hold(holderOf(400), 400);
    expect(unreadBytes).toBeGreaterThan(500);
    expect(heldBytes.total).toBe(800);

    await socket.send(notify());

    expect(logged.lines).toMatchObject([{ event: "evicted", heldBytes: unreadBytes }]);
    expect(heldBytes.total).toBe(800);
  });

  it.each([
    ["messages", 3, 1_000],
    ["messages of a small chunk", 3, 300],
    ["frames without a meaning, and a message,", 50, 1_000],
  ])("reads no more than 256 frames before it takes turns: %s", async (_, type, count) => {
    const turns = new Turns();
    const { socket } = connect({ turns });
    await socket.send(hello());
    await socket.readAnswers();
    const answered = async () => (await socket.readAnswers()).filter((answer) => answer === "ack").length;
    const frames = Array.from({ length: count }, () => frame({ type }));

    // This round has no time left.
    turns.charge(5);
    socket.push(Buffer.concat([...frames, notify()]));
    const written = readAgentFrames(socket.written).length - 1;
    const paused = socket.isPaused();
    await until(async () => (await answered()) === (type === 3 ? count + 1 : 1));

    expect(written).toBe(type === 3 ? 256 : 0);
    expect(paused).toBe(true);
    expect(socket.isPaused()).toBe(false);
  });

  it("without a message for long is not closed in the middle of one, but after it", async () => {
    const { socket, connection } = connect({ idleMs: 0 });
    await socket.send(hello());
    await socket.readAnswers();
    const bytes = notify();

    await socket.send(bytes.subarray(0, 9));
    connection.checkProgress();
    await socket.send(bytes.subarray(9));
    expect(await socket.readAnswers()).toEqual(["hello", "ack"]);
    connection.checkProgress();

    expect(await socket.readAnswers()).toEqual(["hello", "ack", "disconnect"]);
  });

  it("without a message for long is closed at the second look, if only frames without a meaning are half received", async () => {
    const { socket, connection } = connect({ idleMs: 0 });
    await socket.send(hello());
    await socket.readAnswers();
    const unknown = frame({ type: 50, streamId: 1, frameId: 1 });

    await socket.send(unknown.subarray(0, 5));
    connection.checkProgress();
    await socket.send(Buffer.concat([unknown.subarray(5), unknown.subarray(0, 5)]));
    connection.checkProgress();

    expect(await socket.readAnswers()).toEqual(["hello", "disconnect"]);
  });
});
