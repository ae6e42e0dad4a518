import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { firstCheckpoint, type Job } from "../../../relay/job/job.ts";
import { MemoryArchive } from "../../contract/archive-contract.ts";
import type { RequestParts } from "./captured-requests.ts";
import { pack } from "./packs.ts";

/** The current time in job tests: 2026-11-22T18:00:00Z. */
export const jobStartMs = Date.UTC(2026, 10, 22, 18);

/** The start of the ten minutes that a job replays. */
export const captureStartMs = jobStartMs - 600_000;

/** A job that runs since `jobStartMs` and replays the ten minutes before it at their own speed. */
export function job(changes: Partial<Job> = {}): Job {
  const fromMs = changes.fromMs ?? captureStartMs;
  return {
    id: "20261122-180000-abc",
    capture: "peak",
    target: "staging",
    fromMs,
    toMs: jobStartMs,
    pace: { kind: "speed", factor: 1 },
    loops: 1,
    createdAtMs: jobStartMs,
    total: { requests: 100, bytes: 10_000 },
    status: "running",
    anchor: { atMs: jobStartMs, offsetMs: 0 },
    checkpoint: firstCheckpoint(fromMs),
    ...changes,
  };
}

/** A job that has not started, from the start of the capture of `captureOf`. */
export function newJob(changes: Partial<Job> = {}): Job {
  const { anchor: _, ...waiting } = job({ status: "scheduled", ...changes });
  return waiting;
}

/**
 * The capture `peak` with a request at each of these ascending times since `captureStartMs`, in packs of `perPack`. The paths are
 * `/0`, `/1`, …
 */
export async function captureOf(
  timesMs: readonly number[],
  perPack = 20,
  changes: (i: number) => Partial<RequestParts> = () => ({}),
): Promise<MemoryArchive> {
  const archive = new MemoryArchive();
  for (let start = 0; start < timesMs.length; start += perPack) {
    const requests = timesMs.slice(start, start + perPack).map((ms, i) => ({
      capturedAtMs: captureStartMs + ms,
      method: "GET",
      body: new Uint8Array(),
      path: `/${start + i}`,
      id: "",
      ...changes(start + i),
    }));
    const whole = pack({ agent: "edge~1", sequence: 1 + start / perPack, requests });
    await writeCapture(archive, "peak", [{ pack: whole, requests: whole.requests }]);
  }
  return archive;
}

/** `count` times, one each `everyMs`. */
export function everyMs(count: number, everyMs: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i * everyMs);
}
