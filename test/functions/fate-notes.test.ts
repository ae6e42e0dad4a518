import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FateNotes, type PackFates } from "../../functions/fate-notes.ts";
import type { Settlement } from "../../relay/state/port.ts";

const noteEveryMs = 1_000;

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Opens packs and records when each was written, in milliseconds since the start. */
function openNotes({ shares = true, patient = false }: { readonly shares?: boolean; readonly patient?: boolean } = {}) {
  const startMs = Date.now();
  const written: { readonly pack: string; readonly atMs: number; readonly requests: readonly number[] }[] = [];
  const failing = new Set<string>();
  const notes = new FateNotes(shares);
  const open = (pack: string): PackFates =>
    notes.open(async (settlement: Settlement) => {
      if (failing.has(pack)) throw new Error("away");
      written.push({ pack, atMs: Date.now() - startMs, requests: [...settlement.keys()] });
    }, patient);
  return { open, written, failing };
}

describe("FateNotes", () => {
  it("writes fates within a second, whatever the packs do", async () => {
    const { open, written } = openNotes();
    open("a").add(1, "answered.2xx");
    await vi.advanceTimersByTimeAsync(400);
    open("b").add(2, "answered.2xx");
    await vi.advanceTimersByTimeAsync(noteEveryMs - 400);

    expect(written).toEqual([
      { pack: "a", atMs: noteEveryMs, requests: [1] },
      { pack: "b", atMs: noteEveryMs, requests: [2] },
    ]);
  });

  it("writes the packs of an invocation together: at the end of the last one, or after a second", async () => {
    const { open, written } = openNotes();
    const packs = ["a", "b", "c"].map(open);
    const ended: string[] = [];
    for (const [i, pack] of packs.entries()) {
      pack.add(0, "answered.2xx");
      pack.flush().then(
        () => ended.push(`pack ${i} at ${Date.now()}`),
        () => {},
      );
      await vi.advanceTimersByTimeAsync(300);
    }

    expect(written.map(({ pack, atMs }) => [pack, atMs])).toEqual([
      ["a", 600],
      ["b", 600],
      ["c", 600],
    ]);
    expect(ended.length).toBe(3);
  });

  it("does not keep a pack waiting for more than a second", async () => {
    const { open } = openNotes();
    open("busy").add(0, "answered.2xx");
    const short = open("short");
    short.add(0, "answered.2xx");
    const flushed = short.flush();
    await vi.advanceTimersByTimeAsync(noteEveryMs);

    await flushed;
  });

  it("writes on a host when half of the busy packs have ended; packs that wait for their time do not count", async () => {
    const { open, written } = openNotes({ patient: true });
    for (let i = 0; i < 64; i++) open(`job ${i}`);
    const packs = ["a", "b", "c", "d"].map(open);
    for (const pack of packs) pack.add(0, "answered.2xx");
    void packs[0].flush();
    await vi.advanceTimersByTimeAsync(10);
    expect(written).toEqual([]);

    void packs[1].flush();
    await vi.advanceTimersByTimeAsync(10);

    expect(written.map(({ pack }) => pack)).toEqual(["a", "b", "c", "d"]);
  });

  it("writes each pack at its end if the ledger does not share writes", async () => {
    const { open, written } = openNotes({ shares: false });
    const [a, b] = ["a", "b"].map(open);
    a.add(0, "answered.2xx");
    b.add(0, "answered.2xx");

    await a.flush();

    expect(written.map(({ pack }) => pack)).toEqual(["a"]);
  });

  it("fails the pack whose fates are not written, keeps them, and does not hold up others", async () => {
    const { open, written, failing } = openNotes();
    const [a, b] = ["a", "b"].map(open);
    failing.add("a");
    a.add(7, "answered.2xx");
    b.add(8, "answered.2xx");
    const [first, second] = await Promise.allSettled([a.flush(), b.flush()]);
    failing.clear();
    await a.flush();

    expect([first.status, second.status]).toEqual(["rejected", "fulfilled"]);
    expect(written.map(({ pack, requests }) => [pack, requests])).toEqual([
      ["b", [8]],
      ["a", [7]],
    ]);
  });

  it("ends a pack without fates at once if no other pack is left", async () => {
    const { open } = openNotes();
    const [a, b] = ["a", "b"].map(open);
    a.add(0, "answered.2xx");
    await Promise.all([a.flush(), b.flush()]);
  });

  it("tell whether the end of a pack wrote anything", async () => {
    const { open } = openNotes();
    const [pack, empty] = [open("a"), open("b")];
    pack.add(1, "answered.2xx");
    const wrote = pack.flush();
    await vi.advanceTimersByTimeAsync(noteEveryMs);

    expect([await wrote, await pack.flush(), await empty.flush()]).toEqual([true, false, false]);
  });
});
