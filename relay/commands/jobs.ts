import type { Command } from "commander";
import { type Job, jobKey } from "../job/job.ts";
import { cancelJob, pauseJob, resumeJob } from "../job/job-control.ts";
import { type JobProgress, readProgress, toProgress } from "../job/job-progress.ts";
import { printable } from "../pack/request-text.ts";
import type { Jobs, State } from "../state/port.ts";
import { type ConfigFlag, formatTable, plural, print, withConfig } from "./command-line.ts";
import { readJobHold } from "./job-hold.ts";
import {
  describeJob,
  explainShortfall,
  explainSkipped,
  explainUndelivered,
  formatBytes,
  formatCount,
  formatDuration,
  formatFates,
  formatPace,
  formatSettled,
  formatShare,
  formatUnsent,
} from "./job-text.ts";
import { followJob } from "./replay.ts";
import { withStores } from "./stores.ts";

export function addJobs(program: Command): void {
  const jobs = program.command("jobs").description("list replay jobs, or change them while they run");
  withConfig(jobs.command("list"), "list the jobs, oldest first; ended jobs are kept for 30 days")
    .addHelpText("after", "\nExample: spoa-relay jobs list")
    .action(async ({ config }: ConfigFlag) => withStores(config, async ({ state }) => listJobs(state)));
  withConfig(jobs.command("show"), "show everything about a job")
    .argument("<id>")
    .option("--follow", "keep printing progress until the job ends; Ctrl+C stops only the following")
    .addHelpText("after", "\nExample: spoa-relay jobs show 20261122-175341-k3f --follow")
    .action(async (id: string, { config: file, follow }: ConfigFlag & { readonly follow?: boolean }) =>
      withStores(file, async ({ state }, config) => {
        const progress = await readProgress(state, id);
        print(formatProgress(progress, await readJobHold(state.controls, config.targets, progress.job)));
        if (follow) await followJob(state, id, config);
      }),
    );
  addChange(jobs, "pause", "pause a job: it stops sending within about a second, and its clock stands still", pauseJob);
  addChange(jobs, "resume", "continue a paused job where it stopped", resumeJob);
  addChange(jobs, "cancel", "end a job for good; its waiting requests are not sent", cancelJob);
}

type Change = (jobs: Jobs, id: string, nowMs: number) => Promise<Job>;

function addChange(jobs: Command, verb: string, description: string, change: Change): void {
  withConfig(jobs.command(verb), description)
    .argument("<id>")
    .addHelpText("after", `\nExample: spoa-relay jobs ${verb} 20261122-175341-k3f`)
    .action(async (id: string, { config }: ConfigFlag) =>
      withStores(config, async ({ state }) => {
        const { status } = await change(state.jobs, id, Date.now());
        print(`job ${id} is ${status}`);
      }),
    );
}

async function listJobs({ jobs, ledger }: State): Promise<void> {
  const [found, foreign] = await Promise.all([jobs.list(), jobs.foreign()]);
  if (found.length + foreign.length === 0) return print("no jobs; start one with spoa-relay replay");
  const { targets } = await ledger.totals();
  const rows = found.map(({ job }) => {
    const progress = toProgress(job, targets.get(jobKey(job.id)));
    const { id, capture, target, pace, status } = job;
    const done = [formatSettled(progress), ...formatUnsent(progress)].join(", ");
    return [id, capture, target, formatPace(pace), status, formatShare(progress), done, printable(job.reason ?? "")];
  });
  const others = foreign.map(({ id, capture = "?", target = "?", status = "?" }) =>
    [id, capture, target, "?", status, "?", "?", "written by another version of spoa-relay"].map(printable),
  );
  const names = ["job", "capture", "target", "pace", "status", "share", "requests", "reason"];
  const sorted = [...rows, ...others].sort(([a], [b]) => (a < b ? -1 : 1));
  print(formatTable([names, ...sorted], process.stdout));
}

function formatProgress(progress: JobProgress, hold: string | undefined): string {
  const { job, fed, waiting, fates, endsAtMs, estimated } = progress;
  const { checkpoint, maxGapMs, where, reason, endedAtMs, loops } = job;
  const optional: readonly (readonly [string, string | undefined])[] = [
    ["held", hold],
    ["reason", reason && printable(reason)],
    ["only", where && JSON.stringify(where)],
    ["longest gap", maxGapMs === undefined ? undefined : `${maxGapMs} ms`],
    ["loops", loops > 1 ? `${Math.min(checkpoint.loop, loops)} of ${loops}` : undefined],
    ["left out", progress.leftOut > 0 ? formatCount(progress.leftOut) : undefined],
    [
      "broken",
      checkpoint.skippedParts > 0
        ? `${plural(checkpoint.skippedParts, "part")} of the capture with ${plural(checkpoint.skippedRequests, "request")}`
        : undefined,
    ],
    ["expected", explainShortfall(progress)],
    ["undelivered", explainUndelivered(progress)],
    ["skipped", explainSkipped(progress)],
    ["last is due", endsAtMs === undefined ? undefined : formatEnd(endsAtMs, job, estimated)],
    ["ended", endedAtMs === undefined ? undefined : formatMoment(endedAtMs)],
  ];
  return formatTable(
    [
      ["job", job.id],
      ["replays", describeJob(job)],
      ["range", `${formatMoment(job.fromMs)} to ${formatMoment(job.toMs)}, ${formatDuration(job.toMs - job.fromMs)}`],
      ["status", job.status],
      ["requests", `${formatSettled(progress)} (${formatShare(progress)})`],
      ["stored", formatBytes(job.total.bytes * loops)],
      ["fed", `${formatCount(fed)}, of which ${formatCount(waiting)} are waiting`],
      ["fates", formatFates(fates) || "–"],
      ["created", formatMoment(job.createdAtMs)],
      ...optional.flatMap(([name, text]) => (text === undefined ? [] : [[name, text]])),
    ],
    process.stdout,
  );
}

/** With a speed an estimate is an upper bound: silences may be shortened, and the last requests may be left out. */
function formatEnd(endsAtMs: number, { pace }: Job, estimated: boolean): string {
  const text = formatMoment(endsAtMs);
  if (!estimated) return text;
  return pace.kind === "speed" ? `${text} at the latest` : `about ${text}`;
}

function formatMoment(ms: number): string {
  return new Date(ms).toISOString();
}
