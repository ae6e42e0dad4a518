import { afterEach, describe, expect, it, vi } from "vitest";
import { ServerClock } from "../../../relay/aws/server-clock.ts";

const hourMs = 3_600_000;
const awsMs = Date.UTC(2026, 11, 1, 12);

afterEach(() => {
  vi.useRealTimers();
});

describe("ServerClock", () => {
  it("is the clock of this machine before the first answer, and then that of the answers", async () => {
    const { clock, answer } = open();
    const before = clock.nowMs();
    await answer({ date: new Date(awsMs).toUTCString() });

    expect(Math.abs(before - Date.now())).toBeLessThan(hourMs);
    expect(clock.nowMs() - awsMs).toBeGreaterThanOrEqual(-1);
    expect(clock.nowMs() - awsMs).toBeLessThan(hourMs);
  });

  it("goes on if the clock of this machine is set", async () => {
    const { clock, answer } = open();
    await answer({ date: new Date(awsMs).toUTCString() });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 100 * 24 * hourMs });

    expect(clock.nowMs() - awsMs).toBeGreaterThanOrEqual(-1);
    expect(clock.nowMs() - awsMs).toBeLessThan(hourMs);
  });

  it.each([{}, { date: "soon" }, undefined])("keeps its time after an answer without a date: %o", async (headers) => {
    const { clock, answer } = open();
    await answer({ date: new Date(awsMs).toUTCString() });
    await answer(headers);

    expect(clock.nowMs() - awsMs).toBeLessThan(hourMs);
  });
});

type Next = (args: unknown) => Promise<{ readonly response: unknown }>;

/** A client with one middleware, as the SDK calls it. */
function open() {
  let learning: (next: Next) => Next = (next) => next;
  const clock = new ServerClock({
    middlewareStack: {
      add: (middleware: typeof learning) => {
        learning = middleware;
      },
    },
  });
  return { clock, answer: (headers: object | undefined) => learning(async () => ({ response: { headers } }))({}) };
}
