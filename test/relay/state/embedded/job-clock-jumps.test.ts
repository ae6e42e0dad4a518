import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dueAtMs } from "../../../../relay/job/job-clock.ts";
import { pauseJob, resumeJob } from "../../../../relay/job/job-control.ts";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { job } from "../../../support/data/jobs.ts";
import { temporaryDirectory } from "../../../support/data/temporary-directory.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const startMs = Date.UTC(2026, 11);

const jump = fc.integer({ min: -9 * dayMs, max: 9 * dayMs }).filter((ms) => Math.abs(ms) > 2_000);
const event = fc.oneof(
  fc.record({ kind: fc.constant("pass" as const), ms: fc.nat(hourMs) }),
  fc.record({ kind: fc.constant("jump" as const), ms: jump }),
  fc.record({ kind: fc.constantFrom("write" as const, "pause" as const, "resume" as const, "reopen" as const) }),
);

describe("a running job of an embedded state", () => {
  it("is due when it would have been due, however the wall clock is set and whoever writes the job", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 25 }), fc.boolean(), async (events, inOtherProcess) => {
        const directory = temporaryDirectory();
        let [ranMs, setByMs] = [0, 0];
        const wallMs = () => startMs + ranMs + setByMs;
        const machine = { boot: "boot", uptimeMs: () => dayMs + ranMs, wallMs };
        const states = [0, 1].map(() => EmbeddedState.open(directory, machine));
        const running = job({ status: "running", anchor: { atMs: startMs, offsetMs: 0 } });
        await states[0].jobs.write(running, 0);
        // The time of the job, which stands still while it is paused.
        let [jobMs, paused] = [0, false];
        for (const one of events) {
          const { jobs } = states[0];
          if (one.kind === "pass") {
            ranMs += one.ms;
            if (!paused) jobMs += one.ms;
          } else if (one.kind === "jump") setByMs += one.ms;
          else if (one.kind === "write") {
            const found = await jobs.read(running.id);
            expect(await jobs.write({ ...(found?.job ?? running), reason: "changed" }, found?.version ?? 0)).toBe(true);
          } else if (one.kind === "pause" && !paused) {
            await pauseJob(jobs, running.id, wallMs());
            paused = true;
          } else if (one.kind === "resume" && paused) {
            const { pausedAtMs = 0 } = (await jobs.read(running.id))?.job ?? {};
            await resumeJob(jobs, running.id, wallMs());
            // It continues ten seconds later if it was paused for more than 15.
            if (wallMs() - pausedAtMs > 15_000) jobMs -= 10_000;
            paused = false;
          } else if (one.kind === "reopen") {
            states[0].close();
            states[0] = EmbeddedState.open(directory, machine);
          }
        }
        const found = await states[inOtherProcess ? 1 : 0].jobs.read(running.id);
        const { job: read } = found ?? { job: running };
        if (paused) {
          const dueMs = dueAtMs(read, jobMs) ?? Number.NaN;
          expect(Math.abs(dueMs - (read.pausedAtMs ?? 0))).toBeLessThan(20);
        } else expect(Math.abs((dueAtMs(read, jobMs) ?? Number.NaN) - wallMs())).toBeLessThan(20);
        for (const state of states) state.close();
      }),
      { numRuns: 60 },
    );
  });

  it("is stored without the jump: a version that follows the wall clock reads what it wrote", async () => {
    const directory = temporaryDirectory();
    let setByMs = 0;
    const machine = { boot: "boot", uptimeMs: () => dayMs, wallMs: () => startMs + setByMs };
    const state = EmbeddedState.open(directory, machine);
    const lease = { owner: "a", untilMs: startMs + 5_000 };
    const anchor = { atMs: startMs, offsetMs: 7 };
    const running = job({ status: "running", startAtMs: startMs, anchor, lease });
    await state.jobs.write(running, 0);
    setByMs = 5 * hourMs;
    const moved = (await state.jobs.read(running.id))?.job ?? running;
    await state.jobs.write(moved, 1);
    setByMs = 0;
    const back = (await state.jobs.read(running.id))?.job;
    state.close();

    expect(moved).toMatchObject({ anchor: { atMs: startMs + 5 * hourMs, offsetMs: 7 }, startAtMs: startMs });
    expect(moved.lease?.untilMs).toBe(startMs + 5_000 + 5 * hourMs);
    expect(back).toEqual(running);
  });
});
