import { Duplex } from "node:stream";
import { setImmediate as nextRound } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Connection } from "../../../agent/listener/connection.ts";
import { Crowd } from "../../../agent/listener/crowd.ts";
import { HeldBytes } from "../../../agent/listener/held-bytes.ts";
import { PeerLog } from "../../../agent/listener/peer-log.ts";
import { Turns } from "../../../agent/listener/turns.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { frame, haproxyDisconnect, hello, readAgentFrames, uint32 } from "../../support/spop/spop-frames.ts";

/** A socket whose peer reads everything at once. */
class MemorySocket extends Duplex {
  readonly #written: Buffer[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#written.push(chunk);
    done();
  }

  get answers() {
    return readAgentFrames(Buffer.concat(this.#written));
  }
}

// What a peer does: messages of a kind, and frames that are none; then how it ends.
const step = fc.oneof(
  fc.record({ kind: fc.constant("small" as const), count: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant("flood" as const), count: fc.integer({ min: 200, max: 900 }) }),
  fc.record({ kind: fc.constant("large" as const), bytes: fc.integer({ min: 3_000, max: 90_000 }) }),
  fc.record({ kind: fc.constant("fragments" as const), bytes: fc.integer({ min: 20, max: 60_000 }) }),
  fc.record({ kind: fc.constant("unknown" as const), count: fc.integer({ min: 1, max: 400 }) }),
  fc.record({ kind: fc.constant("aborted" as const), bytes: fc.nat(30_000) }),
);
const peer = fc.record({
  steps: fc.array(step, { maxLength: 6 }),
  cuts: fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 5 }),
  end: fc.constantFrom("open", "half a frame", "disconnect", "half-close", "reset", "reset soon"),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The bytes of the steps, and how many messages they have. The messages say their numbers, from 1. */
function toBytes(steps: readonly Step[]): { readonly bytes: Buffer; readonly messages: number } {
  const frames: Buffer[] = [];
  let messages = 0;
  const payload = (bytes: number) => {
    const content = Buffer.alloc(Math.max(4, bytes));
    content.writeUInt32BE(++messages);
    return content;
  };
  const whole = (bytes: number) => {
    const content = payload(bytes);
    frames.push(frame({ type: 3, streamId: messages, frameId: 1, payload: content }));
  };
  for (const one of steps) {
    if (one.kind === "small" || one.kind === "flood") for (let i = 0; i < one.count; i++) whole(4);
    else if (one.kind === "large") whole(one.bytes);
    else if (one.kind === "unknown") for (let i = 0; i < one.count; i++) frames.push(frame({ type: 50 }));
    else if (one.kind === "fragments") {
      const content = payload(one.bytes);
      const half = content.length >> 1;
      const ids = { streamId: messages, frameId: 1 };
      frames.push(frame({ type: 3, flags: 0, ...ids, payload: content.subarray(0, half) }));
      frames.push(frame({ type: 0, ...ids, payload: content.subarray(half) }));
    } else {
      frames.push(frame({ type: 3, flags: 0, streamId: 0, frameId: 9, payload: Buffer.alloc(one.bytes) }));
      frames.push(frame({ type: 0, flags: 3, streamId: 0, frameId: 9 }));
    }
  }
  return { bytes: Buffer.concat(frames), messages };
}

describe("peers that send at the same time and end in any way", () => {
  it("have each complete message acknowledged and passed on once, in order, and leave nothing behind", async () => {
    const peers = fc.array(peer, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(peers, fc.boolean(), fc.boolean(), async (plans, slow, crowded) => {
        const heldBytes = new HeldBytes(crowded ? 150_000 : 100_000_000);
        const turns = new Turns();
        const crowd = new Crowd(10);
        const runs = plans.map(({ steps, cuts, end }, index) => {
          const socket = new MemorySocket();
          const taken: number[] = [];
          const connection = new Connection(socket, `127.0.0.${index % 2}:${index}`, {
            maxFrameBytes: 1024 * 1024,
            helloDeadlineMs: 5_000,
            idleMs: 300_000,
            heldBytes,
            turns,
            crowd,
            onNotify: (bytes, start) => {
              taken.push(Buffer.from(bytes.subarray(start, start + 4)).readUInt32BE());
              for (const endMs = performance.now() + (slow ? 0.05 : 0); performance.now() < endMs; );
            },
            onOversize: () => {},
            isHealthy: () => true,
            log: new PeerLog(new LogLines().log),
          });
          crowd.add(connection);
          const { bytes, messages } = toBytes(steps);
          const last =
            end === "half a frame" ? frame({ type: 3, payload: Buffer.alloc(9_000) }).subarray(0, 5_000) : [];
          const goodbye = end === "disconnect" ? haproxyDisconnect(0, "normal") : Buffer.alloc(0);
          const stream = Buffer.concat([
            hello({ "max-frame-size": uint32(1_000_000) }),
            bytes,
            Buffer.from(last),
            goodbye,
          ]);
          return { socket, taken, messages, stream, cuts, end, sent: 0, round: 0 };
        });
        const isDone = ({ socket, stream, sent, end }: (typeof runs)[number]) =>
          socket.destroyed || (end === "reset soon" && sent > stream.length / 2) || sent === stream.length;
        while (!runs.every(isDone)) {
          for (const run of runs) {
            if (isDone(run)) continue;
            const bytes = run.cuts[run.round++ % run.cuts.length];
            run.socket.push(run.stream.subarray(run.sent, run.sent + bytes));
            run.sent = Math.min(run.stream.length, run.sent + bytes);
          }
          await nextRound();
        }
        for (const { socket, end } of runs) {
          if (end.startsWith("reset")) socket.destroy();
          else if (end === "half-close") socket.push(null);
        }
        const endMs = performance.now() + 20_000;
        const isRead = ({ socket, taken, messages }: (typeof runs)[number]) =>
          socket.destroyed || taken.length >= messages;
        while (!runs.every(isRead) && performance.now() < endMs) await nextRound();
        for (const { socket } of runs) socket.destroy();
        turns.finish();
        await nextRound();

        for (const { socket, taken, messages, end } of runs) {
          const answers = socket.answers;
          const acknowledged = answers.filter(({ type }) => type === "ack").map(({ streamId }) => Number(streamId));
          const evicted = answers.some(({ type, items }) => type === "disconnect" && items["status-code"] === 13n);
          const all = Array.from({ length: messages }, (_, i) => i + 1);
          const whole = !evicted && !end.startsWith("reset");
          // Of a peer that is reset or evicted, the first messages; what is acknowledged is passed on.
          expect(taken).toEqual(all.slice(0, whole ? messages : taken.length));
          expect(acknowledged).toEqual(all.slice(0, whole ? messages : acknowledged.length));
          expect(taken.length).toBeGreaterThanOrEqual(acknowledged.length);
          if (whole && end === "disconnect") expect(answers.at(-1)).toMatchObject({ type: "disconnect" });
        }
        expect(heldBytes.total).toBe(0);
        expect(crowd.size).toBe(0);
      }),
      { numRuns: 40 },
    );
  });
});
