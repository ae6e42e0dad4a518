import { describe, expect, it, onTestFinished, vi } from "vitest";
import { systemClock } from "../../relay/clock.ts";

describe("systemClock", () => {
  it("never wakes a sleeper early", async () => {
    const { signal } = new AbortController();
    for (const waitUs of [500, 1_000, 1_500, 7_300, 0, -5]) {
      const atUs = systemClock.nowUs() + waitUs;
      await systemClock.sleepUntil(atUs, signal);

      expect(systemClock.nowUs()).toBeGreaterThanOrEqual(atUs);
    }
  });

  it("does not sleep an hour longer if the clock is set back by an hour", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    const sleeping = systemClock.sleepUntil(systemClock.nowUs() + 20_000, AbortSignal.timeout(5_000));
    vi.setSystemTime(Date.now() - 3_600_000);

    await expect(sleeping).resolves.toBeUndefined();
  });

  it("ends the sleep if the signal is aborted", async () => {
    await expect(systemClock.sleepUntil(systemClock.nowUs() + 1e9, AbortSignal.abort())).rejects.toThrow();
  });
});
