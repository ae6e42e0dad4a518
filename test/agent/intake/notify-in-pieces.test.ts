import { describe, expect, it } from "vitest";
import type { Intake } from "../../../agent/intake/intake.ts";
import { createLedger } from "../../../agent/ledger.ts";
import { type NotifyProgress, NotifyQueue } from "../../../agent/spop/notify-queue.ts";
import { packInto, takeEverything } from "../../support/spop/plain-intake.ts";
import { bin, get, headersBinary, type Message, messageList } from "../../support/spop/spop-frames.ts";

function createIntake() {
  const ledger = createLedger();
  const paths: string[] = [];
  const packer = packInto(ledger, ({ requests }) => paths.push(...requests.map(({ path }) => path)));
  const intake = takeEverything(ledger, packer);
  return { ledger, intake, packer, paths };
}

/** Passes one NOTIFY on with time for one message in each turn. Returns the turns and the error, if it has one. */
function takeInTurns(
  intake: Intake,
  messages: readonly Message[],
): { readonly turns: number; readonly error?: unknown } {
  const queue = new NotifyQueue();
  const bytes = messageList(messages);
  queue.push(bytes, 0, bytes.length);
  let turns = 0;
  let error: unknown;
  const visit = (all: Uint8Array, start: number, end: number, size: number, progress: NotifyProgress) => {
    try {
      intake.take(all, start, end, size, progress);
    } catch (caught) {
      error = caught;
    }
  };
  while (queue.length > 0 && turns < 1_000) {
    turns++;
    queue.take(visit, 16_380, () => false);
  }
  return { turns, ...(error !== undefined && { error }) };
}

const withHeaders = (count: number): Message => {
  const { args } = get("/h");
  return { args: [...args, ["hdrs", bin(headersBinary(new Array(2 * count).fill("a")))]] };
};

describe("a NOTIFY that is read in several turns", () => {
  it("has each message captured once, in order, and so has the next one", () => {
    const { intake, packer, paths, ledger } = createIntake();
    const expected = Array.from({ length: 64 }, (_, i) => `/${i}`);

    expect(takeInTurns(intake, expected.map(get))).toEqual({ turns: 64 });
    expect(takeInTurns(intake, expected.map(get))).toEqual({ turns: 64 });
    packer.close();

    expect(paths).toEqual([...expected, ...expected]);
    expect(ledger.seen).toBe(128);
  });

  it.each<[string, readonly Message[], number]>([
    ["64 messages", Array.from({ length: 65 }, () => get("/")), 64],
    ["32,767 headers", [withHeaders(20_000), withHeaders(12_767), withHeaders(1), get("/")], 2],
  ])("may have %s in all, like one that is read at once", (_, messages, captured) => {
    const { intake, packer, paths } = createIntake();

    const { error } = takeInTurns(intake, messages);
    packer.close();

    expect(error).toMatchObject({ code: "BAD_COUNT" });
    expect(paths).toHaveLength(captured);
    // The next NOTIFY begins anew.
    expect(takeInTurns(intake, [get("/a"), get("/b")])).toEqual({ turns: 2 });
  });
});
