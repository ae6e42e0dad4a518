import { describe, expect, it } from "vitest";
import { endedKeptMs, forgottenJobsKey, type Job, jobKey } from "../../relay/job/job.ts";
import { pauseJob } from "../../relay/job/job-control.ts";
import type { State } from "../../relay/state/port.ts";
import { job, jobStartMs } from "../support/data/jobs.ts";

/** Two processes that share an empty store, whose time `setNow` sets. */
export interface SharedJobs {
  readonly one: State;
  readonly other: State;
  readonly setNow: (nowMs: number) => void;
  readonly close: () => void | Promise<void>;
}

/** The contract of every store of jobs. */
export function describeJobs(name: string, open: () => Promise<SharedJobs>): void {
  const on = (work: (opened: SharedJobs) => Promise<void>) => async () => {
    const opened = await open();
    opened.setNow(jobStartMs);
    try {
      await work(opened);
    } finally {
      await opened.close();
    }
  };

  describe(`${name}: jobs`, () => {
    it(
      "are an empty list at first",
      on(async ({ one }) => {
        expect(await one.jobs.list()).toEqual([]);
        expect(await one.jobs.read("20261122-180000-abc")).toBeUndefined();
      }),
    );

    it(
      "are read by another process as they were written",
      on(async ({ one, other }) => {
        const whole = job({
          maxGapMs: 5_000,
          where: { method: ["GET"], path: "^/ö", header: { "x-tag": "a" } },
          startAtMs: jobStartMs + 1,
          lease: { owner: "host", untilMs: jobStartMs + 2 },
          status: "paused",
          pausedAtMs: jobStartMs + 3,
          reason: "„nobody“ knows",
        });
        expect(await one.jobs.write(whole, 0)).toBe(true);

        expect((await other.jobs.read(whole.id))?.job).toEqual(whole);
        expect((await other.jobs.list()).map((found) => found.job)).toEqual([whole]);
      }),
    );

    it(
      "keep their plan, also when they are changed",
      on(async ({ one, other }) => {
        const planned = job({ plan: { requests: 7, loopMs: 1_000.5, lastOffsetMs: 900.25, exact: true } });
        await one.jobs.write(planned, 0);
        await pauseJob(other.jobs, planned.id, jobStartMs);
        const { plan, status } = (await one.jobs.read(planned.id))?.job ?? {};

        expect([plan, status]).toEqual([planned.plan, "paused"]);
        expect((await one.jobs.list()).map((found) => found.job.plan)).toEqual([planned.plan]);
      }),
    );

    it(
      "keep fields of a newer version when this version changes them",
      on(async ({ one, other }) => {
        const newer = { ...job(), note: "new", checkpoint: { ...job().checkpoint, seen: 3 } };
        await one.jobs.write(newer as Job, 0);
        await pauseJob(other.jobs, newer.id, jobStartMs);

        expect((await one.jobs.read(newer.id))?.job).toEqual({ ...newer, status: "paused", pausedAtMs: jobStartMs });
        expect(await one.jobs.foreign()).toEqual([]);
      }),
    );

    it.each([
      ["a pace", { pace: { kind: "wave", perSecond: 3 } }],
      ["a status", { status: "asleep" }],
      ["a condition", { where: { path: "^/", query: "a=b" } }],
    ])("are listed apart if a newer version gave them %s that this one does not know", (_, changes) =>
      on(async ({ one, other, setNow }) => {
        const newer = { ...job(), ...changes } as unknown as Job;
        const known = job({ id: "20261122-180000-own" });
        await one.jobs.write(newer, 0);
        await one.jobs.write(known, 0);
        const { id, capture, target, status } = newer;
        const fed = { agent: jobKey(id), sequence: 1, requests: 7, targets: new Map([[jobKey(id), new Map()]]) };
        await one.ledger.recordFanOut({ ...fed, pack: "pack of a foreign job" });
        setNow(jobStartMs + endedKeptMs);
        await other.fold();

        expect((await other.jobs.list()).map((found) => found.job)).toEqual([known]);
        expect(await other.jobs.foreign()).toEqual([{ id, capture, target, status }]);
        await expect(other.jobs.read(id)).rejects.toThrow(`job ${id} was written by another version of spoa-relay`);
        await expect(pauseJob(other.jobs, id, jobStartMs)).rejects.toMatchObject({ code: "FOREIGN_JOB" });
        expect((await other.ledger.totals()).targets.get(jobKey(id))).toMatchObject({ enqueued: 7 });
      })(),
    );

    it(
      "are listed in the order of their ids",
      on(async ({ one }) => {
        for (const id of ["20261122-180001-aaa", "20261121-180000-zzz", "20261122-180000-bbb"]) {
          await one.jobs.write(job({ id }), 0);
        }

        expect((await one.jobs.list()).map(({ job: { id } }) => id)).toEqual([
          "20261121-180000-zzz",
          "20261122-180000-bbb",
          "20261122-180001-aaa",
        ]);
      }),
    );

    it(
      "are not written with an outdated version",
      on(async ({ one, other }) => {
        await one.jobs.write(job(), 0);
        const version = (await other.jobs.read(job().id))?.version ?? 0;
        expect(await other.jobs.write(job({ loops: 2 }), version)).toBe(true);

        expect(await one.jobs.write(job({ loops: 3 }), version)).toBe(false);
        expect(await one.jobs.write(job({ loops: 4 }), 0)).toBe(false);

        expect((await one.jobs.read(job().id))?.job.loops).toBe(2);
      }),
    );

    it(
      "are written by exactly one of several concurrent writers",
      on(async ({ one, other }) => {
        await one.jobs.write(job(), 0);
        const version = (await one.jobs.read(job().id))?.version ?? 0;

        const written = await Promise.all(
          [2, 3, 4, 5].map((loops) => (loops % 2 === 0 ? one : other).jobs.write(job({ loops }), version)),
        );

        expect(written.filter(Boolean).length).toBe(1);
      }),
    );

    it(
      "are kept for 30 days after their end, and forever before",
      on(async ({ one, other, setNow }) => {
        const ended = job({ status: "done", endedAtMs: jobStartMs });
        const running = job({ id: "20261122-180000-run" });
        await one.jobs.write(ended, 0);
        await one.jobs.write(running, 0);

        setNow(jobStartMs + endedKeptMs - 1);
        expect((await other.jobs.list()).length).toBe(2);
        setNow(jobStartMs + endedKeptMs);

        expect((await other.jobs.list()).map(({ job: { id } }) => id)).toEqual([running.id]);
        expect(await other.jobs.read(ended.id)).toBeUndefined();
      }),
    );

    it(
      "leave the sum of their figures when they are deleted",
      on(async ({ one, other, setNow }) => {
        const gone = ["20261120-180000-aaa", "20261121-180000-bbb"];
        const kept = job({ id: "20261122-180000-run" });
        for (const id of gone) await one.jobs.write(job({ id, status: "done", endedAtMs: jobStartMs }), 0);
        await one.jobs.write(kept, 0);
        for (const [i, id] of [...gone, kept.id].entries()) {
          const fates = new Map([[0, "skipped" as const]]);
          const agent = jobKey(id);
          const fed = { agent, sequence: 5 + i, requests: 10, targets: new Map([[agent, fates]]) };
          await one.ledger.recordFanOut({ ...fed, pack: `pack of ${id}` });
          await one.ledger.settle(agent, `pack of ${id}`, new Map([[1, "answered.2xx"]]));
        }

        setNow(jobStartMs + endedKeptMs + 1);
        await other.jobs.write(kept, 1);
        await other.fold();
        const { agents, targets } = await other.ledger.totals();

        expect([...targets.keys()].sort()).toEqual([jobKey(kept.id), forgottenJobsKey].sort());
        expect(targets.get(jobKey(kept.id))).toMatchObject({ enqueued: 10, fates: { skipped: 1 } });
        expect(targets.get(forgottenJobsKey)).toMatchObject({
          enqueued: 20,
          fates: { skipped: 2, "answered.2xx": 2 },
        });
        expect(agents.map(({ agent, packs, requests }) => ({ agent, packs, requests }))).toEqual([
          { agent: jobKey(kept.id), packs: 1, requests: 10 },
          { agent: forgottenJobsKey, packs: 2, requests: 20 },
        ]);
      }),
    );
  });
}
