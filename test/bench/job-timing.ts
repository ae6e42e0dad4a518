import { plotArrivals } from "../../relay/demo/arrival-plot.ts";
import { dueAtMs } from "../../relay/job/job-clock.ts";
import type { JobProgress } from "../../relay/job/job-progress.ts";
import { recentHourMs } from "../support/clocks/recent-hour.ts";
import type { ArrivalReport } from "../support/data/arrival-recorder.ts";
import { burstyRequests } from "../support/data/bursty-requests.ts";
import { CaptureStage } from "../support/processes/capture-stage.ts";
import { ChildScript } from "../support/processes/child-script.ts";
import type { Row } from "./table.ts";

export interface JobTiming {
  readonly rows: readonly Row[];
  /** A plot of the arrival times of each run. */
  readonly plot: string;
}

interface Run {
  readonly name: string;
  readonly flags: readonly string[];
  readonly sliceMs: number;
  /** The run is ended after this time. */
  readonly withinMs: number;
}

const requestCount = 60_000;
const spanMs = 60_000;
const ratedRequests = 1_000;

/**
 * Measures how far from its due time each request of a replay job arrives: a minute of bursts and pauses at 10x, at 1x and, for
 * ten seconds, at a fixed rate. The shadow is a process of its own on this machine.
 */
export async function benchJobTiming(): Promise<JobTiming> {
  // The recorder reads the path as the number of the request.
  const requests = burstyRequests(requestCount, spanMs, recentHourMs).map((request, i) => ({
    ...request,
    path: `/${i}`,
  }));
  const timesMs = requests.map(({ capturedAtMs }) => capturedAtMs);
  const rated = new Date(timesMs[ratedRequests]).toISOString();
  const runs: readonly Run[] = [
    { name: "10x", flags: ["--speed", "10x"], sliceMs: 200, withinMs: 12_000 },
    { name: "100/s for 10 s", flags: ["--rate", "100/s", "--to", rated], sliceMs: 500, withinMs: 14_000 },
    { name: "1x", flags: ["--speed", "1x"], sliceMs: 1_000, withinMs: 66_000 },
  ];
  const shadow = new ChildScript("../data/arrival-recorder.ts", []);
  await shadow.printed(1);
  const origin = `http://127.0.0.1:${shadow.lines[0]}`;
  const stage = await CaptureStage.create(origin, requests);
  try {
    await stage.startHost();
    const rows: Row[] = [];
    const plots: string[] = [];
    for (const run of runs) {
      await fetch(`${origin}//reset`);
      const id = await stage.replay(...run.flags);
      // If the machine cannot keep up, the result only has the requests that arrived in time.
      const progress = await stage.untilDone(id, run.withinMs).catch(() => stage.progress(id));
      const { arrivals } = (await (await fetch(`${origin}//report`)).json()) as ArrivalReport;
      rows.push({ what: run.name, value: describe(progress, arrivals, timesMs) });
      if (arrivals.length > 0) {
        const plot = plotArrivals(
          arrivals.map(([, , atUs]) => atUs / 1_000),
          run.sliceMs,
        );
        plots.push(`  ${run.name}: arrivals in each ${run.sliceMs} ms\n${plot}`);
      }
    }
    return { rows, plot: plots.join("\n\n") };
  } finally {
    await stage.close();
    await shadow.kill();
  }
}

function describe(
  { job, total }: JobProgress,
  arrivals: ArrivalReport["arrivals"],
  timesMs: readonly number[],
): string {
  const errorsMs = arrivals
    .map(([i, , atUs]) => {
      const offsetMs = job.pace.kind === "rate" ? (i * 1_000) / job.pace.perSecond : timesMs[i] - job.fromMs;
      return atUs / 1_000 - (dueAtMs(job, offsetMs) ?? 0);
    })
    .sort((a, b) => a - b);
  if (errorsMs.length === 0) return "nothing arrived";
  const mean = errorsMs.reduce((sum, each) => sum + Math.abs(each), 0) / errorsMs.length;
  const p99 = errorsMs[Math.floor(errorsMs.length * 0.99)];
  const most = Math.max(-errorsMs[0], errorsMs[errorsMs.length - 1]);
  const [meanText, p99Text, mostText] = [mean, p99, most].map((ms) => `${ms.toFixed(1)} ms`);
  const count = `${errorsMs.length.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} requests`;
  return `${count}; from their time: mean ${meanText}, p99 ${p99Text}, at most ${mostText}, earliest ${errorsMs[0].toFixed(1)} ms`;
}
