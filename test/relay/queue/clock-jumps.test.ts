import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { MachineClock } from "../../../relay/process/machine-clock.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { queueFile } from "../../../relay/queue/names.ts";
import type { Delivery } from "../../../relay/queue/port.ts";
import { message, receive } from "../../contract/queue-contract.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const secondMs = 1_000;
const minuteMs = 60 * secondMs;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const retentionMs = 4 * dayMs;

const machineNow = Date.now;
let setByMs = 0;

afterEach(() => {
  setByMs = 0;
  vi.restoreAllMocks();
});

describe("EmbeddedQueue: when the wall clock is set", () => {
  it.each([
    ["back by two hours", -2 * hourMs],
    ["ahead by five days", 5 * dayMs],
    ["back by 400 days", -400 * dayMs],
    ["to 1970", -Date.now() + 1],
    ["to 2100", Date.UTC(2100, 0) - Date.now()],
  ])("%s, delays and visibility timeouts end as if nothing had happened", async (_, jumpMs) => {
    const queue = openOnThisMachine();
    await queue.send([message({ body: "in flight" })]);
    await receive(queue, { visibilityMs: 50 });
    await queue.send([message({ body: "delayed", delayMs: 60 })]);
    setWallClock(jumpMs);
    const hidden = await receive(queue);
    const shown = [
      ...(await receive(queue, { max: 1, waitMs: 5_000 })),
      ...(await receive(queue, { max: 1, waitMs: 5_000 })),
    ];

    expect([hidden.length, shown.map(({ body }) => body)]).toEqual([0, ["in flight", "delayed"]]);
  });

  it("ahead by five days for a moment, no message and no dead letter is removed", async () => {
    const queue = openOnThisMachine();
    await queue.send([message(), message()]);
    await queue.deadLetters.send([message()]);
    setWallClock(5 * dayMs);
    await receive(queue, { visibilityMs: 0 });
    await receive(queue.deadLetters, { visibilityMs: 0 });
    setWallClock(-5 * dayMs);

    expect(await queue.backlog()).toMatchObject({ messages: 2, expiredRequests: 0, deadMessages: 1 });
    expect(queue.deadLetters.expired().requests).toBe(0);
    expect(await receive(queue)).toHaveLength(2);
  });

  it("right after it was six days behind, messages that were sent before are delivered", async () => {
    setWallClock(-6 * dayMs);
    const queue = openOnThisMachine();
    await queue.send([message({ body: "early" })]);
    setWallClock(6 * dayMs);

    expect((await receive(queue)).map(({ body }) => body)).toEqual(["early"]);
    expect(queue.expired().requests).toBe(0);
  });

  it("the age of a message is still known, by the clock of the queue", async () => {
    const queue = openOnThisMachine();
    await queue.send([message()]);
    setWallClock(-3 * dayMs);
    const [delivery] = await receive(queue);

    expect(queue.retention.nowMs() - delivery.sentAtMs).toBeGreaterThanOrEqual(0);
    expect(queue.retention.nowMs() - delivery.sentAtMs).toBeLessThan(minuteMs);
  });

  it("in any way, with any restarts, each message is delivered and removed in its time, and counted", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 10, maxLength: 40 }), async (events) => {
        const model = new QueueModel();
        try {
          for (const one of events) await model.apply(one);
          model.check();
        } finally {
          model.queue.close();
        }
      }),
      { numRuns: 15 },
    );
  });
});

describe("EmbeddedQueue: the file of a version without a clock", () => {
  it.each([
    ["right", 0],
    ["three days behind", -3 * dayMs],
    ["in 1970", -Date.now() + minuteMs],
  ])("delivers and removes each message in its time if the wall clock is %s at the first start", async (_, errorMs) => {
    const directory = temporaryDirectory();
    const nowMs = Date.now();
    let [uptimeMs, wallMs] = [minuteMs, nowMs];
    const machine: MachineClock = { wallMs: () => wallMs, uptimeMs: () => uptimeMs, boot: "boot" };
    const open = () => EmbeddedQueue.open({ directory, name: "q", retentionMs, machine });
    const old = open();
    await old.send([message({ body: "in flight" })]);
    await receive(old);
    await old.send([message({ body: "delayed", delayMs: 10 * minuteMs }), message({ body: "waiting" })]);
    await old.deadLetters.send([message()]);
    old.close();
    const file = new DatabaseSync(join(directory, queueFile("q")));
    file.exec("DROP TABLE clock");
    file.close();

    wallMs = nowMs + errorMs;
    const queue = open();
    onTestFinished(() => queue.close());
    // NTP sets the clock.
    wallMs = nowMs;
    const atOnce = await receive(queue, { visibilityMs: hourMs });
    uptimeMs += 15 * minuteMs;
    const later = await receive(queue, { visibilityMs: hourMs });
    uptimeMs += retentionMs - hourMs;
    const before = queue.depth().messages + queue.deadLetters.depth().messages;
    uptimeMs += hourMs;
    await receive(queue);
    await receive(queue.deadLetters);

    expect(atOnce.map(({ body }) => body)).toEqual(["waiting"]);
    expect(later.map(({ body }) => body)).toEqual(["in flight", "delayed"]);
    expect(before).toBe(4);
    expect([queue.expired().messages, queue.deadLetters.expired().messages]).toEqual([3, 1]);
  });
});

type Event =
  | { readonly kind: "pass"; readonly ms: number; readonly drift: number }
  | { readonly kind: "jump"; readonly ms: number }
  | { readonly kind: "reopen" }
  | { readonly kind: "reboot"; readonly offMs: number; readonly errorMs: number }
  | { readonly kind: "send"; readonly delayMs: number }
  | { readonly kind: "receive"; readonly visibilityMs: number }
  | { readonly kind: "delete"; readonly nth: number };

const jumpMs = fc.oneof(
  fc.integer({ min: -2 * secondMs, max: 2 * secondMs }),
  fc.integer({ min: -5 * dayMs, max: 5 * dayMs }),
  fc.constantFrom(-400 * dayMs, 400 * dayMs, -30_000 * dayMs, 30_000 * dayMs),
);
const delayMs = fc.constantFrom(0, secondMs, minuteMs, 15 * minuteMs);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("pass" as const),
      ms: fc.oneof(fc.integer({ min: 1, max: 30 * minuteMs }), fc.integer({ min: 1, max: 2 * dayMs })),
      drift: fc.double({ min: -0.0005, max: 0.0005, noNaN: true }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("jump" as const), ms: jumpMs }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reboot" as const),
      offMs: fc.integer({ min: 10 * secondMs, max: 10 * dayMs }),
      errorMs: fc.oneof(fc.constant(0), jumpMs),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("send" as const), delayMs }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("receive" as const), visibilityMs: delayMs }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), nth: fc.nat(5) }) },
);

// What the queue promises for each start of the machine: it forgets a minute at most, and counts an hour of its absence at most.
const forgottenMs = minuteMs;
const absentMs = hourMs;

interface Sent {
  readonly body: string;
  readonly sentMs: number;
  readonly sentBoots: number;
  hiddenMs: number;
  hiddenAtMs: number;
  hiddenBoots: number;
  receives: number;
  receipt: string | undefined;
}

/** A queue on a simulated machine, and what must be true of it, by the time for which the machine really ran. */
class QueueModel {
  queue: EmbeddedQueue;
  readonly #directory = temporaryDirectory();
  #ranMs = 0;
  #uptimeMs = 20 * secondMs;
  #wallMs = Date.UTC(2026, 11);
  #boots = 0;
  #sent: Sent[] = [];
  #count = 0;
  #deleted = 0;

  constructor() {
    this.queue = this.#open();
  }

  async apply(one: Event): Promise<void> {
    if (one.kind === "pass") {
      this.#ranMs += one.ms;
      this.#uptimeMs += one.ms;
      this.#wallMs += one.ms * (1 + one.drift);
    } else if (one.kind === "jump") this.#wallMs += one.ms;
    else if (one.kind === "send") await this.#send(one.delayMs);
    else if (one.kind === "receive") await this.#receive(one.visibilityMs);
    else if (one.kind === "delete") await this.#delete(one.nth);
    else {
      this.queue.close();
      if (one.kind === "reboot") {
        this.#boots++;
        this.#wallMs += one.offMs + one.errorMs;
        this.#uptimeMs = 10 * secondMs;
      }
      this.queue = this.#open();
    }
  }

  /** Everything that was sent is in the queue, deleted, or counted as expired; and what is expired was old enough. */
  check(): void {
    const { messages } = this.queue.depth();
    const expired = this.queue.expired().messages;
    expect(messages + expired + this.#deleted).toBe(this.#count);
    const mayBeOld = this.#sent.filter(({ sentMs, sentBoots }) => this.#longest(sentMs, sentBoots) >= retentionMs);
    const mustBeOld = this.#sent.filter(({ sentMs, sentBoots }) => this.#shortest(sentMs, sentBoots) >= retentionMs);
    expect(expired).toBeGreaterThanOrEqual(mustBeOld.length);
    expect(expired).toBeLessThanOrEqual(mayBeOld.length);
  }

  async #send(delay: number): Promise<void> {
    const body = `m${this.#count++}`;
    await this.queue.send([message({ body, delayMs: delay })]);
    this.#sent.push({
      body,
      sentMs: this.#ranMs,
      sentBoots: this.#boots,
      hiddenMs: delay,
      hiddenAtMs: this.#ranMs,
      hiddenBoots: this.#boots,
      receives: 0,
      receipt: undefined,
    });
  }

  async #receive(visibilityMs: number): Promise<void> {
    const received: Delivery[] = [];
    for (;;) {
      const some = await receive(this.queue, { visibilityMs: Math.max(1, visibilityMs) });
      received.push(...some);
      if (some.length < 10) break;
    }
    const bodies = new Set(received.map(({ body }) => body));
    for (const one of this.#sent) {
      const isOld = this.#longest(one.sentMs, one.sentBoots) >= retentionMs;
      const longestMs = this.#longest(one.hiddenAtMs, one.hiddenBoots);
      const shortestMs = this.#shortest(one.hiddenAtMs, one.hiddenBoots);
      if (bodies.has(one.body)) {
        expect(this.#shortest(one.sentMs, one.sentBoots)).toBeLessThan(retentionMs);
        expect(longestMs).toBeGreaterThanOrEqual(one.hiddenMs);
      } else if (!isOld) {
        expect(shortestMs).toBeLessThanOrEqual(one.hiddenMs);
      }
    }
    for (const { body, receipt, receiveCount } of received) {
      const one = this.#sent.find((sent) => sent.body === body) as Sent;
      expect(receiveCount).toBe(++one.receives);
      Object.assign(one, { receipt, hiddenMs: Math.max(1, visibilityMs) });
      Object.assign(one, { hiddenAtMs: this.#ranMs, hiddenBoots: this.#boots });
    }
  }

  async #delete(nth: number): Promise<void> {
    const held = this.#sent.filter(({ receipt }) => receipt !== undefined);
    const one = held[nth];
    if (!one) return;
    const before = this.queue.depth().messages;
    await this.queue.delete([one.receipt as string]);
    const gone = before - this.queue.depth().messages;
    // Nothing is deleted if it had expired.
    if (gone === 0) return;
    this.#deleted++;
    this.#sent = this.#sent.filter((sent) => sent !== one);
  }

  #shortest(sinceMs: number, boots: number): number {
    return this.#ranMs - sinceMs - (this.#boots - boots) * forgottenMs;
  }

  #longest(sinceMs: number, boots: number): number {
    return this.#ranMs - sinceMs + (this.#boots - boots) * absentMs;
  }

  #open(): EmbeddedQueue {
    const boots = this.#boots;
    const machine: MachineClock = {
      wallMs: () => this.#wallMs,
      uptimeMs: () => this.#uptimeMs,
      boot: `boot ${boots}`,
    };
    return EmbeddedQueue.open({ directory: this.#directory, name: "q", retentionMs, machine });
  }
}

function openOnThisMachine(): EmbeddedQueue {
  vi.spyOn(Date, "now").mockImplementation(() => machineNow() + setByMs);
  const queue = EmbeddedQueue.open({ directory: temporaryDirectory(), name: "q" });
  onTestFinished(() => queue.close());
  return queue;
}

/** Sets the wall clock of this process; its monotonic clock goes on. */
function setWallClock(byMs: number): void {
  setByMs += byMs;
}
