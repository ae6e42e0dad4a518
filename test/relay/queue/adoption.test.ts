import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MachineClock } from "../../../relay/process/machine-clock.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { readMessage } from "../../../relay/queue/message.ts";
import { overdueAtMs } from "../../../relay/queue/overdue.ts";
import type { Delivery } from "../../../relay/queue/port.ts";
import { receive } from "../../contract/queue-contract.ts";
import { type ClocklessMessage, writeClocklessQueue } from "../../support/data/clockless-queue.ts";
import { packMessage } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const retentionMs = 4 * dayMs;
const longestDelayMs = 15 * minuteMs;
const trueMs = Date.UTC(2026, 11);

/** By how much a wall clock is wrong. */
const errorMs = fc.oneof(
  fc.constant(0),
  fc.integer({ min: -10 * dayMs, max: 10 * dayMs }),
  fc.constantFrom(minuteMs - trueMs, Date.UTC(2100, 0) - trueMs),
);
const written = fc.record({
  ageMs: fc.integer({ min: 0, max: retentionMs - hourMs }),
  errorMs,
  delayMs: fc.option(fc.integer({ min: 1, max: longestDelayMs })),
  sinceMs: fc.option(fc.integer({ min: 0, max: retentionMs })),
  dead: fc.boolean(),
});

describe("EmbeddedQueue: a file of a version that measured ages by the wall clock", () => {
  it("keeps each message for its time from the first start on, however wrong the clock was then or is now", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(written, { minLength: 1, maxLength: 8 }), errorMs, async (messages, startErrorMs) => {
        const directory = temporaryDirectory();
        writeClocklessQueue(directory, messages.map(toMessage));
        const machine = new Machine(startErrorMs);
        const queue = EmbeddedQueue.open({ directory, name: "q", retentionMs, machine });
        const dead = messages.filter((one) => one.dead).length;
        machine.pass(longestDelayMs);
        const received = [...(await receive(queue)), ...(await receive(queue.deadLetters))];
        const left = received.map((delivery) => overdueInMs(queue, delivery));
        machine.pass(retentionMs - longestDelayMs - minuteMs);
        const kept = [queue.depth().messages, queue.deadLetters.depth().messages];
        machine.pass(2 * minuteMs);
        const expired = [queue.expired().messages, queue.deadLetters.expired().messages];
        queue.close();

        expect(received).toHaveLength(messages.length);
        expect(Math.min(...left)).toBeGreaterThanOrEqual(retentionMs - longestDelayMs);
        expect(kept).toEqual([messages.length - dead, dead]);
        expect(expired).toEqual([messages.length - dead, dead]);
      }),
      { numRuns: 60 },
    );
  });

  it("begins no age anew at a later start", async () => {
    const directory = temporaryDirectory();
    writeClocklessQueue(directory, [{ ...packMessage(), enteredAtMs: trueMs }]);
    const machine = new Machine(0);
    const open = () => EmbeddedQueue.open({ directory, name: "q", retentionMs, machine });
    open().close();
    machine.pass(retentionMs - minuteMs);
    open().close();
    machine.pass(2 * minuteMs);
    const queue = open();
    const { messages } = queue.depth();
    queue.close();

    expect(messages).toBe(0);
  });

  it("keeps the first time of a message that this version has put back into it", async () => {
    const directory = temporaryDirectory();
    writeClocklessQueue(directory, [{ ...packMessage(), enteredAtMs: trueMs }]);
    const machine = new Machine(0);
    const queue = EmbeddedQueue.open({ directory, name: "q", retentionMs, machine });
    await receive(queue);
    const sinceMs = queue.retention.nowMs();
    machine.pass(dayMs);
    const { body, ...rest } = packMessage();
    await queue.send([{ ...rest, body: JSON.stringify({ ...JSON.parse(body), since: sinceMs }) }]);
    const deliveries = await receive(queue);
    queue.close();

    expect(deliveries.map((delivery) => Math.round(overdueInMs(queue, delivery) / dayMs))).toEqual([3, 3]);
  });
});

class Machine implements MachineClock {
  readonly boot = "boot";
  #passedMs = 0;
  readonly #errorMs: number;

  constructor(wrongByMs: number) {
    this.#errorMs = wrongByMs;
  }

  wallMs(): number {
    return trueMs + this.#errorMs + this.#passedMs;
  }

  uptimeMs(): number {
    return minuteMs + this.#passedMs;
  }

  pass(ms: number): void {
    this.#passedMs += ms;
  }
}

function toMessage({ ageMs, errorMs: wrongMs, delayMs, sinceMs, dead }: WrittenMessage): ClocklessMessage {
  const { body, pack } = packMessage();
  const enteredAtMs = trueMs - ageMs + wrongMs;
  const since = sinceMs === null ? {} : { since: Math.max(1, enteredAtMs - sinceMs) };
  return {
    body: JSON.stringify({ ...JSON.parse(body), ...since }),
    pack,
    enteredAtMs,
    ...(delayMs !== null && { hiddenUntilMs: enteredAtMs + delayMs }),
    ...(dead && { dead }),
  };
}

type WrittenMessage = typeof written extends fc.Arbitrary<infer T> ? T : never;

/** After what time a worker gives up the requests of a message, as the queue and its marks say. */
function overdueInMs({ retention }: EmbeddedQueue, delivery: Delivery): number {
  const pack = readMessage(delivery);
  if (pack instanceof Error) throw pack;
  return overdueAtMs(delivery, pack, { ...retention, counted: false }) - retention.nowMs();
}
