import { describe, expect, it } from "vitest";
import { FreshValue, type Obtained } from "../../../relay/credentials/fresh-value.ts";

const never = new AbortController().signal;

describe("FreshValue", () => {
  it("obtains one value for all waiting callers, and keeps it", async () => {
    const source = new Source();
    const values = await Promise.all(Array.from({ length: 5 }, () => source.fresh.get(never, true)));
    source.nowMs += 700_000;

    expect(values).toEqual(Array(5).fill("v1"));
    expect([source.fresh.current, source.calls]).toEqual(["v1", 1]);
  });

  it("renews a value a minute before it expires, and returns the old one meanwhile", async () => {
    const source = new Source();
    await source.fresh.get(never, true);
    source.nowMs += 840_000;
    const before = source.fresh.current;
    await source.settled();

    expect([before, source.fresh.current, source.calls]).toEqual(["v1", "v2", 2]);
  });

  it("renews a short-lived value after 80% of its lifetime", async () => {
    const source = new Source(10_000);
    await source.fresh.get(never, true);
    source.nowMs += 7_999;
    const early = [source.fresh.current, source.calls];
    source.nowMs += 1;
    const late = [source.fresh.current, source.calls];

    expect([early, late]).toEqual([
      ["v1", 1],
      ["v1", 2],
    ]);
  });

  it("returns no expired value while renewals fail", async () => {
    const source = new Source();
    await source.fresh.get(never, true);
    source.failing = true;
    source.nowMs += 840_000;
    void source.fresh.current;
    await source.settled();
    const beforeExpiry = source.fresh.current;
    source.nowMs += 60_000;

    expect([beforeExpiry, source.fresh.current]).toEqual(["v1", undefined]);
  });

  it("retries after 1 s, 2 s, 4 s … 60 s, and reports failures and the recovery", async () => {
    const source = new Source();
    source.failing = true;
    const waits: number[] = [];
    for (let tries = 1; tries <= 9; tries++) {
      const failedAtMs = source.nowMs;
      expect(await source.fresh.get(never, false)).toBeUndefined();
      while (source.calls === tries) {
        source.nowMs += 1_000;
        void source.fresh.current;
      }
      waits.push((source.nowMs - failedAtMs) / 1_000);
      await source.settled();
    }
    source.failing = false;
    source.nowMs += 60_000;

    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
    expect(await source.fresh.get(never, false)).toBe("v11");
    expect(source.events).toEqual([...Array(10).fill("failed: away"), "recovered"]);
  });

  it("retries within a minute even if the clock was set back by hours", async () => {
    const source = new Source();
    source.failing = true;
    await source.fresh.get(never, false);
    source.failing = false;
    source.nowMs -= 7_200_000;
    void source.fresh.current;
    await source.settled();

    expect(source.fresh.current).toBe("v2");
  });

  it("does not wait if `patient` is false, and does not retry early", async () => {
    const source = new Source();
    source.failing = true;

    expect([await source.fresh.get(never, false), await source.fresh.get(never, false)]).toEqual([
      undefined,
      undefined,
    ]);
    expect(source.calls).toBe(1);
  });

  it("rejects an aborted caller and continues for the others", async () => {
    const source = new Source();
    const gate = Promise.withResolvers<void>();
    source.gate = gate.promise;
    const end = new AbortController();
    const aborted = source.fresh.get(end.signal, true);
    const waiting = source.fresh.get(never, true);
    end.abort(new Error("the host stops"));

    await expect(aborted).rejects.toThrow("the host stops");
    gate.resolve();
    expect(await waiting).toBe("v1");
  });
});

describe("FreshValue: refusals", () => {
  it("drops a refused value and obtains a new one at once", async () => {
    const source = new Source();
    await source.fresh.get(never, true);

    expect(source.fresh.refuse("v1")).toBe(true);
    expect(source.fresh.current).toBeUndefined();
    expect(await source.fresh.get(never, true)).toBe("v2");
  });

  it("renews once for several refusals of the same value", async () => {
    const source = new Source();
    await source.fresh.get(never, true);
    const before = [source.fresh.refuse("v1"), source.fresh.refuse("v1")];
    await source.settled();

    expect([...before, source.fresh.refuse("v1")]).toEqual([true, true, true]);
    expect([source.fresh.current, source.calls]).toEqual(["v2", 2]);
  });

  it("renews a refused value even if the clock was set back since the last refusal", async () => {
    const source = new Source();
    await source.fresh.get(never, true);
    source.fresh.refuse("v1");
    await source.settled();
    source.nowMs -= 7_200_000;

    expect(source.fresh.refuse("v2")).toBe(true);
    await source.settled();
    expect(source.fresh.current).toBe("v3");
  });

  it("does not renew again within ten seconds if the new value is refused", async () => {
    const source = new Source();
    await source.fresh.get(never, true);
    source.fresh.refuse("v1");
    await source.settled();
    source.nowMs += 9_999;
    const soon = source.fresh.refuse("v2");
    source.nowMs += 1;

    expect([soon, source.fresh.refuse("v2")]).toEqual([false, true]);
    expect(source.calls).toBe(3);
  });
});

/** Obtains v1, v2, v3, …, or fails. */
class Source {
  nowMs = 1_000_000;
  calls = 0;
  failing = false;
  gate: Promise<void> = Promise.resolve();
  readonly events: string[] = [];
  readonly fresh: FreshValue<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(holdsMs = 900_000) {
    const obtain = async (call: number): Promise<Obtained<string>> => {
      await this.gate;
      if (this.failing) throw new Error("away");
      return { value: `v${call}`, holdsMs };
    };
    this.fresh = new FreshValue({
      obtain: () => {
        const obtained = obtain(++this.calls);
        this.#last = obtained.catch(() => {});
        return obtained;
      },
      onFailure: ({ message }) => this.events.push(`failed: ${message}`),
      onRecovery: () => this.events.push("recovered"),
      now: () => this.nowMs,
    });
  }

  /** Waits until the last call has settled and was handled. */
  async settled(): Promise<void> {
    await this.#last;
    await new Promise(setImmediate);
  }
}
