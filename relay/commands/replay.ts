import { type Command, InvalidArgumentError, Option } from "commander";
import { bounds, isWithinBounds } from "../config/bounds.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { explainDuration, explainRate, parseCount, parseDurationMs, parseRatePerSecond } from "../config/units.ts";
import { type Forecast, forecastJob } from "../job/forecast.ts";
import { hasEnded, type Job, type Pace, type Where } from "../job/job.ts";
import type { JobProgress } from "../job/job-progress.ts";
import { type JobRequest, startJob } from "../job/job-request.ts";
import { watchStopSignals } from "../process/stop-signals.ts";
import type { When } from "../rules/when.ts";
import {
  parseComingTime,
  type RangeFlags,
  toRange,
  type WhereFlag,
  withCapture,
  withRange,
  withWhere,
} from "./capture-flags.ts";
import { type ConfigFlag, Failure, formatTable, plural, print, withConfig } from "./command-line.ts";
import { JobFollower } from "./job-follower.ts";
import {
  describeJob,
  explainShortfall,
  explainSkipped,
  explainUndelivered,
  formatBytes,
  formatCount,
  formatDuration,
  formatFates,
  formatUnsent,
} from "./job-text.ts";
import { withStores } from "./stores.ts";

export function addReplay(program: Command): void {
  withWhere(
    withRange(
      withConfig(
        program.command("replay"),
        "replay a capture to a target, as a job that the host (or the schedule function) feeds",
      ),
    ),
  )
    .argument("<capture>")
    .requiredOption("--target <name>", "required: target that receives the requests; its own rate is never exceeded")
    .addOption(
      new Option("--speed <factor>", "speed relative to the capture: 2x, 0.1x (default 1x)").argParser(parseSpeed),
    )
    .addOption(
      new Option("--rate <rate>", "send at this rate instead of at the captured times: 100/s, 30/min, 10/h")
        .argParser(parseRate)
        .conflicts("speed"),
    )
    .addOption(
      new Option("--asap", "send as fast as the target's rate and concurrency allow").conflicts(["speed", "rate"]),
    )
    .option("--loop <n>", "replay the capture n times, one after the other", parseLoops)
    .option("--max-gap <duration>", "shorten longer pauses in the capture to this: 500ms, 5s", parseGap)
    .option("--at <time>", "start at this time: 2026-11-20T18:00:00Z, +10m (default now)", parseComingTime)
    .option(
      "--dry-run",
      "print how many requests the job would send, how long it takes and what it costs; send nothing",
    )
    .option(
      "--detach",
      "print the job's id and exit; without it the command follows the job, and Ctrl+C stops only the following",
    )
    .addHelpText(
      "after",
      `
Examples: spoa-relay replay shop --target staging --from 2026-11-20T18:00:00+01:00 --to 2026-11-20T20:00:00+01:00
          spoa-relay replay shop --target staging --from -2h --speed 2x --max-gap 5s --dry-run
          spoa-relay replay shop --target staging --rate 100/s --loop 3 --where 'path=^/api/' --detach
${exitCodes.trimStart()}`,
    )
    .action(async (capture: string, flags: ReplayFlags, command: Command) => {
      const request = toRequest(capture, flags, command);
      if (flags.dryRun) await dryRun(request, flags, command);
      else await run(request, flags);
    });
}

/**
 * Follows a job until it ends or a signal arrives. Throws `Failure` if it ends in a status other than done or did not deliver all
 * requests, `JobError`, `StateError`.
 */
export async function followJob(state: ConstructorParameters<typeof JobFollower>[0], id: string, config: Config) {
  // In AWS the schedule runs each minute.
  const follower = new JobFollower(state, id, { targets: config.targets, unfedMs: config.aws ? 90_000 : 10_000 });
  reportEnd(id, await follower.follow(endOfFollowing()));
}

/** Exit codes of a command that a signal ended, as shells have them. */
const signalCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Aborted by the first signal, which also sets the exit code: a script must not take the job for done. A second signal ends the
 * process at once.
 */
function endOfFollowing(): AbortSignal {
  for (const [name, code] of Object.entries(signalCodes)) {
    process.once(name, () => {
      process.exitCode ??= code;
    });
  }
  const { stop, force } = watchStopSignals();
  force.addEventListener("abort", () => process.exit());
  return stop;
}

const exitCodes = `
Exit codes: 0 every request was answered, left out or skipped, 1 the job failed or did not deliver some,
            2 wrong argument, 130 or 143 a signal ended the following; the job runs on`;

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

// `--at now` was read up to 1 s ago, when the arguments were parsed.
const atSlackMs = 1_000;

async function run(request: JobRequest, { config: file, detach }: ReplayFlags): Promise<void> {
  await withStores(file, async ({ state, archives }, config) => {
    const place = { targets: config.targets, captures: archives, jobs: state.jobs };
    const job = await startJob(place, request, startOf(request));
    // The only line on standard output, so that a script can read it.
    print(job.id);
    process.stderr.write(`${describeJob(job)}: ${describeSize(job)}\n`);
    if (!detach) await followJob(state, job.id, config);
  });
}

function describeSize({ plan, total, loops, where }: Job): string {
  const requests = (plan ?? total).requests * loops;
  if (plan?.exact) return plural(requests, "request");
  return `about ${plural(requests, "request")}${where ? ", of which it sends those that match" : ""}`;
}

function reportEnd(id: string, progress: JobProgress | undefined): void {
  if (!progress || !hasEnded(progress.job)) {
    process.stderr.write(
      `job ${id} keeps running: see spoa-relay jobs show ${id}; stop it with jobs pause ${id} or jobs cancel ${id}\n`,
    );
    return;
  }
  const { job, settled, fates } = progress;
  const shortfall = explainShortfall(progress);
  if (shortfall !== undefined) process.stderr.write(`warning: ${shortfall}\n`);
  const skipped = explainSkipped(progress);
  if (skipped !== undefined) process.stderr.write(`warning: ${skipped}\n`);
  const text = [
    `${plural(settled, "request")}: ${formatFates(fates) || "none was sent"}`,
    ...formatUnsent(progress),
  ].join("; ");
  if (job.status !== "done") throw new Failure(`${job.status}${job.reason ? `: ${job.reason}` : ""}; ${text}`);
  process.stderr.write(
    `done in ${formatDuration((job.endedAtMs ?? 0) - Math.max(job.createdAtMs, job.startAtMs ?? 0))}; ${text}\n`,
  );
  const undelivered = explainUndelivered(progress);
  if (undelivered !== undefined) throw new Failure(undelivered);
}

async function dryRun(request: JobRequest, { config: file }: ReplayFlags, command: Command): Promise<void> {
  const config = loadConfig(file, process.env);
  // A dry run opens only the capture, and leaves no trace.
  await withCapture(file, request.capture, command, async (archive) => {
    const captures = new Map([[request.capture, archive]]);
    print(formatForecast(await forecastJob({ targets: config.targets, captures }, request, startOf(request)), config));
  });
}

function formatForecast(forecast: Forecast, { aws }: Config): string {
  const { job, requests, bytes, exact, durationMs, packs, sqsDollars } = forecast;
  const about = exact ? "" : "about ";
  const dollars = `$${sqsDollars.toFixed(sqsDollars < 0.1 ? 6 : 2)}`;
  const cost = aws ? dollars : `nothing: the queue is a file; in SQS it would be ${dollars}`;
  return formatTable(
    [
      ["dry run", `${describeJob(job)}; nothing is sent`],
      ["from", new Date(job.fromMs).toISOString()],
      ["to", new Date(job.toMs).toISOString()],
      ["requests", `${about}${formatCount(requests)}`],
      ["bytes", `${about}${formatBytes(bytes)}, compressed`],
      ["takes", durationMs === undefined ? "as long as the target needs" : `about ${formatDuration(durationMs)}`],
      ["packs", `about ${formatCount(packs)}`],
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

/** The time at which the job is requested. */
function startOf({ startAtMs = 0 }: JobRequest): number {
  const nowMs = Date.now();
  return startAtMs < nowMs && startAtMs > nowMs - atSlackMs ? startAtMs : nowMs;
}

function toPace({ speed = 1, rate, asap }: ReplayFlags): Pace {
  if (asap) return { kind: "asap" };
  return rate === undefined ? { kind: "speed", factor: speed } : { kind: "rate", perSecond: rate };
}

/** The form in which a job stores it: regular expressions as text. */
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
  const { least, most } = bounds.speed;
  if (isWithinBounds(factor, bounds.speed)) return factor;
  throw new InvalidArgumentError(`It must be a factor of at least ${least} and at most ${most}, such as 2x or 0.1x.`);
}

function parseRate(text: string): number {
  const mistake = explainRate(text, "job");
  if (mistake !== undefined) throw new InvalidArgumentError(`${mistake}.`);
  const rate = parseRatePerSecond(text) as number;
  if (Number.isFinite(rate)) return rate;
  throw new InvalidArgumentError("Use --asap for a job without a rate of its own.");
}

function parseLoops(text: string): number {
  const loops = parseCount(text, bounds.loops);
  if (loops !== undefined) return loops;
  throw new InvalidArgumentError(
    `It must be a whole number of times, from ${bounds.loops.least} to ${bounds.loops.most}.`,
  );
}

function parseGap(text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined && isWithinBounds(ms, bounds.gapMs)) return ms;
  const mistake = ms === undefined ? explainDuration(text) : undefined;
  throw new InvalidArgumentError(`${mistake ?? "It must be a duration from 1ms to 365d, such as 500ms or 5s"}.`);
}
