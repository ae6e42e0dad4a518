import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { JobGate } from "../../../relay/job/job-gate.ts";
import { JobWatch } from "../../../relay/job/job-watch.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { job } from "../../support/data/jobs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const hourMs = 3_600_000;

afterEach(() => {
  vi.useRealTimers();
});

describe("JobGate: if the wall clock is set while a job runs", () => {
  it.each([5 * hourMs, -5 * hourMs])("by %i ms, requests are due when they would have been", async (jumpMs) => {
    const { gate } = await open();
    const { signal } = new AbortController();
    const due = { capturedAtMs: 0, index: 0 };
    const inAnHour = { capturedAtMs: hourMs, index: 0 };
    const before = [await gate.pass(due, signal, true), await gate.pass(inAnHour, signal, true)];
    vi.setSystemTime(Date.now() + jumpMs);
    const after = [await gate.pass(due, signal, true), await gate.pass(inAnHour, signal, true)];

    expect(before.map(({ kind }) => kind)).toEqual(["due", "later"]);
    expect(after).toEqual(before);
  });

  it("no request counts as late because of it", async () => {
    const { gate } = await open();
    const request = { capturedAtMs: 0, index: 0 };
    await gate.pass(request, new AbortController().signal, true);
    vi.setSystemTime(Date.now() + 5 * hourMs);

    expect(gate.lateMs(request)).toBeLessThan(hourMs);
  });
});

/** A job at the captured speed, whose first request was captured in 1970 and is due now. */
async function open() {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
  const state = EmbeddedState.open(temporaryDirectory());
  onTestFinished(() => state.close());
  const running = job({
    status: "running",
    pace: { kind: "speed", factor: 1 },
    anchor: { atMs: Date.now(), offsetMs: 0 },
  });
  await state.jobs.write(running, 0);
  return { gate: new JobGate({ id: running.id, baseMs: 0 }, new JobWatch(state.jobs)) };
}
