import { type Command, InvalidArgumentError, Option } from "commander";
import { type Config, loadConfig } from "../config/config.ts";
import { parseDurationMs, parseRatePerSecond } from "../config/units.ts";
import { type Forecast, forecastJob } from "../job/forecast.ts";
import { hasEnded, type Pace, type Where } from "../job/job.ts";
import type { JobProgress } from "../job/job-progress.ts";
import { type JobRequest, startJob } from "../job/job-request.ts";
import { stopSignal } from "../process/service.ts";
import type { When } from "../rules/when.ts";
import {
  parseTime,
  type RangeFlags,
  toRange,
  type WhereFlag,
  withCapture,
  withRange,
  withWhere,
} from "./capture-flags.ts";
import { type ConfigFlag, withConfig } from "./config-flag.ts";
import { Failure } from "./failure.ts";
import { JobFollower } from "./job-follower.ts";
import { describeJob, explainShortfall, formatBytes, formatCount, formatDuration, formatFates } from "./job-text.ts";
import { formatTable, print } from "./output.ts";
import { withStores } from "./stores.ts";

export function addReplay(program: Command): void {
  withWhere(
    withRange(withConfig(program.command("replay"), "replay a capture at a target, as a job that a host feeds")),
  )
    .argument("<capture>")
    .requiredOption("--target <name>", "where the requests go; its rate is the ceiling")
    .addOption(new Option("--speed <factor>", "of the capture: 2x, 0.1x; 1x by default").argParser(parseSpeed))
    .addOption(
      new Option("--rate <rate>", "one after the other: 100/s, 30/min, 10/h").argParser(parseRate).conflicts("speed"),
    )
    .addOption(new Option("--asap", "as fast as the target takes them").conflicts(["speed", "rate"]))
    .option("--loop <n>", "how often, one time after the other", parseLoops)
    .option("--max-gap <duration>", "cut longer silences of the capture to it: 500ms, 5s", parseGap)
    .option("--at <time>", "begin then: 2026-11-20T18:00:00Z, +10m; now by default", parseTime)
    .option("--dry-run", "say how many requests it would send, how long that takes and what it costs; send nothing")
    .option("--detach", "print the id of the job and end; else follow it, and Ctrl+C stops following only")
    .addHelpText(
      "after",
      `
Examples: spoa-relay replay shop --target staging --from 2026-11-20T18:00:00+01:00 --to 2026-11-20T20:00:00+01:00
          spoa-relay replay shop --target staging --from -2h --speed 2x --max-gap 5s --dry-run
          spoa-relay replay shop --target staging --rate 100/s --loop 3 --where 'path=^/api/' --detach`,
    )
    .action(async (capture: string, flags: ReplayFlags, command: Command) => {
      const request = toRequest(capture, flags, command);
      if (flags.dryRun) await dryRun(request, flags, command);
      else await run(request, flags);
    });
}

/** Follows a job until it ends, or Ctrl+C. Throws `Failure` where it ends otherwise than done, `JobError` and `StateError`. */
export async function followJob(state: ConstructorParameters<typeof JobFollower>[0], id: string, config: Config) {
  // In AWS the schedule comes each minute.
  const follower = new JobFollower(state, id, { targets: config.targets, unfedMs: config.aws ? 90_000 : 10_000 });
  reportEnd(id, await follower.follow(stopSignal()));
}

interface ReplayFlags extends ConfigFlag, RangeFlags, WhereFlag {
  readonly target: string;
  readonly speed?: number;
  readonly rate?: number;
  readonly asap?: boolean;
  readonly loop?: number;
  readonly maxGap?: number;
  readonly at?: number;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
}

// `now` was now when the arguments were read.
const atSlackMs = 1_000;

async function run(request: JobRequest, { config: file, detach }: ReplayFlags): Promise<void> {
  await withStores(file, async ({ state, archives }, config) => {
    const place = { targets: config.targets, captures: archives, jobs: state };
    const job = await startJob(place, request, startOf(request));
    // Alone on standard output, so that a script can take it from there.
    print(job.id);
    process.stderr.write(`${describeJob(job)}: about ${formatCount(job.total.requests * job.loops)} requests\n`);
    if (!detach) await followJob(state, job.id, config);
  });
}

function reportEnd(id: string, progress: JobProgress | undefined): void {
  if (!progress || !hasEnded(progress.job)) {
    process.stderr.write(
      `job ${id} goes on: spoa-relay jobs show ${id} says how far it is; jobs pause ${id} and jobs cancel ${id} stop it\n`,
    );
    return;
  }
  const { job, settled, fates } = progress;
  const shortfall = explainShortfall(progress);
  if (shortfall !== undefined) process.stderr.write(`warning: ${shortfall}\n`);
  const text = `${formatCount(settled)} requests: ${formatFates(fates) || "none was sent"}`;
  if (job.status !== "done") throw new Failure(`${job.status}${job.reason ? `: ${job.reason}` : ""}; ${text}`);
  process.stderr.write(
    `done in ${formatDuration((job.endedAtMs ?? 0) - Math.max(job.createdAtMs, job.startAtMs ?? 0))}; ${text}\n`,
  );
}

async function dryRun(request: JobRequest, { config: file }: ReplayFlags, command: Command): Promise<void> {
  const config = loadConfig(file, process.env);
  // Nothing is opened but the capture: a dry run leaves no trace.
  await withCapture(file, request.capture, command, async (archive) => {
    const captures = new Map([[request.capture, archive]]);
    print(formatForecast(await forecastJob({ targets: config.targets, captures }, request, startOf(request)), config));
  });
}

function formatForecast(forecast: Forecast, { aws }: Config): string {
  const { job, requests, bytes, exact, durationMs, packs, sqsDollars } = forecast;
  const about = exact ? "" : "about ";
  const dollars = `$${sqsDollars.toFixed(sqsDollars < 0.1 ? 6 : 2)}`;
  const cost = aws ? dollars : `nothing, the queue is a file; in SQS ${dollars}`;
  return formatTable(
    [
      ["dry run", `${describeJob(job)}; nothing is sent`],
      ["from", new Date(job.fromMs).toISOString()],
      ["to", new Date(job.toMs).toISOString()],
      ["requests", `${about}${formatCount(requests)}`],
      ["bytes", `${about}${formatBytes(bytes)} as they are stored`],
      ["takes", durationMs === undefined ? "as long as the target needs" : `about ${formatDuration(durationMs)}`],
      ["messages", `about ${formatCount(packs)}`],
      ["costs", cost],
    ],
    process.stdout,
  );
}

function toRequest(capture: string, flags: ReplayFlags, command: Command): JobRequest {
  const { target, loop, maxGap, where, at } = flags;
  return {
    capture,
    target,
    ...toRange(flags, command),
    pace: toPace(flags),
    ...(loop !== undefined && { loops: loop }),
    ...(maxGap !== undefined && { maxGapMs: maxGap }),
    ...(where && { where: toWhere(where) }),
    ...(at !== undefined && { startAtMs: at }),
  };
}

/** When the job is asked for. */
function startOf({ startAtMs = 0 }: JobRequest): number {
  const nowMs = Date.now();
  return startAtMs < nowMs && startAtMs > nowMs - atSlackMs ? startAtMs : nowMs;
}

function toPace({ speed = 1, rate, asap }: ReplayFlags): Pace {
  if (asap) return { kind: "asap" };
  return rate === undefined ? { kind: "speed", factor: speed } : { kind: "rate", perSecond: rate };
}

/** As a job keeps it: as texts. */
function toWhere({ methods, path, headers }: When): Where {
  return {
    ...(methods && { method: [...methods] }),
    ...(path && { path: path.source }),
    ...(headers && {
      header: Object.fromEntries(Object.entries(headers).map(([name, { source }]) => [name, source])),
    }),
  };
}

function parseSpeed(text: string): number {
  const match = /^(\d+(?:\.\d+)?)x?$/.exec(text);
  const factor = match ? Number(match[1]) : 0;
  if (factor > 0 && Number.isFinite(factor)) return factor;
  throw new InvalidArgumentError("It has to be a factor above 0, such as 2x or 0.1x.");
}

function parseRate(text: string): number {
  const rate = parseRatePerSecond(text);
  if (rate !== undefined && Number.isFinite(rate)) return rate;
  throw new InvalidArgumentError("It has to be a rate, such as 100/s, 30/min or 10/h; --asap has none.");
}

function parseLoops(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It has to be a number of times, 1 or more.");
}

function parseGap(text: string): number {
  const ms = parseDurationMs(text);
  if (ms) return ms;
  throw new InvalidArgumentError("It has to be a duration above 0, such as 500ms or 5s.");
}
