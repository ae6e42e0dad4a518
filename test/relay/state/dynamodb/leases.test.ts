import { beforeEach, describe, expect, it, vi } from "vitest";
import { clockToleranceUs, grantSlots, horizonUs, type SlotGrant } from "../../../../relay/state/slot-lease.ts";
import { startStates } from "../../../support/aws/dynamodb-states.ts";

const nowUs = 1_790_000_000_000_000;

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
});

describe("DynamoDbState: slot leases", () => {
  it("use every slot and share none if twelve workers of three processes ask at once", async () => {
    const { open } = await startStates();
    const states = Array.from({ length: 3 }, () => open());
    const request = { nowUs, slotUs: 1_000, slots: 10 };

    const workers = await Promise.all(
      Array.from({ length: 12 }, async (_, worker) => {
        const starts: number[] = [];
        for (;;) {
          const grant = await states[worker % 3].leases.take("a", request);
          if (!grant.granted) return starts;
          starts.push(grant.startUs);
        }
      }),
    );

    const starts = workers.flat().sort((a, b) => a - b);
    expect(starts).toEqual(Array.from({ length: horizonUs / 10_000 + 1 }, (_, i) => nowUs + i * 10_000));
    // An equal share is 16 leases.
    expect(Math.min(...workers.map(({ length }) => length))).toBeGreaterThan(4);
  });

  // A slot of 333,333.3… µs: rounded to whole µs, a thousand leases would be off by 333 µs.
  it.each([
    ["3/s", 3, 1],
    ["700/min", 700, 60],
  ])("are on the exact grid of %s as long as the target is busy", async (_, count, seconds) => {
    const { open } = await startStates();
    const state = open();
    let dueUs = nowUs;
    for (let slot = 0n; slot < 1_000n; slot++) {
      const grant = await state.leases.take("a", { nowUs: dueUs, slotUs: (1e6 * seconds) / count, slots: 1 });
      const exactUs = BigInt(nowUs) + (slot * 1_000_000n * BigInt(seconds)) / BigInt(count);
      dueUs = startUs(grant);
      if (BigInt(dueUs) !== exactUs) throw new Error(`slot ${slot} is at ${dueUs}, not ${exactUs}`);
    }
  });

  it("are those that grantSlots grants, for any sequence of requests", async () => {
    const { open } = await startStates();
    const states = [open(), open()];
    // Times in seconds: in order, idle, back in time, with changes of the rate, and further apart than any lease can lead.
    const steps = [0, 0, 0.1, 0.1, 5, 5, 5.25, 4, 4, 900, 900, 2, 2.5, 2.5, 1_000, 1_001, 1_001, 1_000, 1_003.5, 3];
    let tatUs: number | undefined;
    for (const [i, second] of steps.entries()) {
      const request = { nowUs: nowUs + second * 1e6, slotUs: [1_000, 250_000, 5_000_000][i % 3], slots: 1 + (i % 4) };
      const { tatUs: nextUs, ...expected } = grantSlots(tatUs, request);
      if (expected.granted) tatUs = nextUs;

      expect(await states[i % 2].leases.take("a", request)).toEqual(expected);
    }
  });

  it("start now again if the last ones lead further ahead than the current rate allows", async () => {
    const { open } = await startStates();
    const slow = { nowUs, slotUs: 3_600_000_000, slots: 1 };
    const fast = { nowUs, slotUs: 1_000, slots: 250 };
    const [state, other] = [open(), open()];
    await state.leases.take("a", slow);

    const starts = [startUs(await state.leases.take("a", fast)), startUs(await other.leases.take("a", fast))];

    expect(3_600_000_000).toBeGreaterThan(horizonUs + 250_000 + clockToleranceUs);
    expect(starts).toEqual([nowUs, nowUs + 250_000]);
  });

  it("are refused to a request that waited so long that it would reset the newer leases of others", async () => {
    const { open } = await startStates();
    const request = { nowUs, slotUs: 1_000, slots: 10 };
    let nowMs = nowUs / 1_000;
    let waitMs = 1_100;
    const state = open({
      now: () => {
        nowMs += waitMs;
        return nowMs;
      },
    });
    await open().leases.take("a", { nowUs: nowUs + 1_100_000, slotUs: 1_000, slots: 2_100 });

    const waited = await state.leases.take("a", request);
    waitMs = 0;

    expect(waited).toEqual({ granted: false, retryAtUs: nowUs });
    expect(startUs(await state.leases.take("a", request))).toBe(nowUs);
  });

  it("cost one write each, whether the target is busy or idle", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    await state.leases.take("a", { nowUs, slotUs: 1_000, slots: 10 });
    proxy.calls.length = 0;

    for (let i = 0; i < 5; i++) await state.leases.take("a", { nowUs, slotUs: 1_000, slots: 10 });
    for (let i = 1; i < 6; i++) await state.leases.take("a", { nowUs: nowUs + i * 1e8, slotUs: 1_000, slots: 10 });

    expect(proxy.calls.map(({ action }) => action)).toEqual(Array.from({ length: 10 }, () => "UpdateItem"));
  });

  it("lose their slots if the answer is lost: no other worker receives them", async () => {
    const { open, openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy();
    const request = { nowUs, slotUs: 1_000, slots: 10 };
    proxy.dieAfter(0, "loses the answer");
    await expect(state.leases.take("a", request)).rejects.toMatchObject({ name: "StateError" });

    expect(startUs(await open().leases.take("a", request))).toBe(nowUs + 10_000);
  });

  it("fail within their own timeout if DynamoDB stops answering", async () => {
    const { openThroughProxy } = await startStates();
    const { state, proxy } = await openThroughProxy({ leaseTimeoutMs: 300 });
    const request = { nowUs, slotUs: 1_000, slots: 10 };
    await state.leases.take("a", request);
    proxy.decide = () => new Promise(() => {});
    const startMs = performance.now();

    await expect(state.leases.take("a", request)).rejects.toMatchObject({
      name: "StateError",
      message: expect.stringMatching(/DynamoDB in us-east-1 does not answer: check the network.*within 300 ms/),
    });
    // Other calls have a timeout of 15 seconds.
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});

function startUs(grant: SlotGrant): number {
  if (!grant.granted) throw new Error(`not granted until ${grant.retryAtUs}`);
  return grant.startUs;
}
