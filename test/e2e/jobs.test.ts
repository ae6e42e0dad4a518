import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import type { CapturedRequest } from "../../relay/pack/captured-request.ts";
import { recentHourMs } from "../support/clocks/recent-hour.ts";
import { until } from "../support/clocks/until.ts";
import { burstyRequests } from "../support/data/bursty-requests.ts";
import { CaptureStage } from "../support/processes/capture-stage.ts";
import { type ReceivedRequest, ShadowServer } from "../support/servers/shadow-server.ts";

const requests = burstyRequests(3_000, 6_000, recentHourMs);
// A busy machine may send late; sending too early is always an error.
const medianLateMs = 1_000;
// Times of arrival are whole milliseconds.
const roundingMs = 1;
// Many times the gap between two requests at 100/s.
const quietMs = 1_500;

describe("a replay job of the command line", { timeout: 60_000 }, () => {
  it("sends every request once and on time at twice the speed, and is followed until it is done", async () => {
    const { stage, shadow, arrivedAtMs } = await createStage(requests);
    await stage.startHost();
    const { code, stdout, stderr } = await stage.command("replay", "peak", "--target", "staging", "--speed", "2x");
    const id = stdout.trim();
    const { job } = await stage.progress(id);
    const list = await stage.command("jobs", "list");

    expect(stderr).toMatch(/^peak to staging at 2x: 3,000 requests\n/);
    expect(stderr).toMatch(/done in 0:\d\d; 3,000 requests: 2xx 3,000\n$/);
    expect(code).toBe(0);
    expect(shadow.received.map(toReceivedText).sort()).toEqual(requests.map(toText).sort());
    const lateness = shadow.received.map(({ path }, i) => {
      const captured = requests[numberOf(path)].capturedAtMs;
      return arrivedAtMs[i] - ((job.anchor?.atMs ?? 0) + (captured - job.fromMs) / 2);
    });
    lateness.sort((a, b) => a - b);
    expect(lateness[0]).toBeGreaterThanOrEqual(-roundingMs);
    expect(lateness[lateness.length >> 1]).toBeLessThan(medianLateMs);
    expect(list.stdout).toMatch(new RegExp(`${id} +peak +staging +2x +done +100% +3,000 of 3,000`));
  });

  it("loses nothing if the host is killed, and repeats requests only under their ids", async () => {
    const { stage, shadow } = await createStage(requests);
    shadow.behaviour = () => {
      if (shadow.received.length === 1_000) stage.killHost();
      return { status: 200 };
    };
    await stage.startHost();
    const id = await stage.replay("--speed", "10x");
    await stage.hostEnded();
    await stage.startHost();
    const { fates, total } = await stage.untilDone(id, 40_000);
    const idsByPath = Map.groupBy(shadow.received, ({ path }) => path);

    expect(total).toBe(3_000);
    expect(fates["answered.2xx"]).toBe(3_000);
    expect([...idsByPath.keys()].sort()).toEqual(requests.map(({ path }) => path).sort());
    const ids = [...idsByPath.values()].map((same) => [...new Set(same.map(({ headers }) => headers["x-mirror-id"]))]);
    expect(ids.every((each) => each.length === 1)).toBe(true);
    expect(new Set(ids.flat()).size).toBe(3_000);
  });

  it("is paused, resumed and cancelled while it runs", async () => {
    const { stage, shadow, arrivedAtMs } = await createStage(requests);
    const quiet = () => until(() => Date.now() - (arrivedAtMs.at(-1) ?? 0) > quietMs);
    await stage.startHost();
    const id = await stage.replay("--rate", "100/s");
    await shadow.arrived(50);
    const paused = await stage.command("jobs", "pause", id);
    await quiet();
    const atPause = shadow.received.length;
    const { stdout } = await stage.command("jobs", "show", id);
    const stillPaused = shadow.received.length;
    const resumed = await stage.command("jobs", "resume", id);
    await shadow.arrived(atPause + 1);
    const cancelled = await stage.command("jobs", "cancel", id);
    await until(async () => (await stage.progress(id)).waiting === 0);
    const { fates, fed } = await stage.progress(id);
    const tooLate = await stage.command("jobs", "resume", id);

    expect(paused).toMatchObject({ code: 0, stdout: `job ${id} is paused\n` });
    expect(stdout).toMatch(/status +paused\n[\s\S]*fates +2xx [\d,]+\n/);
    expect(atPause).toBeLessThan(3_000);
    expect(stillPaused).toBe(atPause);
    // Everything may have been fed before the pause.
    expect(resumed).toMatchObject({ code: 0, stdout: expect.stringMatching(/ is (?:running|fed)\n$/) });
    expect(cancelled).toMatchObject({ code: 0, stdout: `job ${id} is cancelled\n` });
    expect(fates["answered.2xx"] + fates.cancelled).toBe(fed);
    expect(fates["answered.2xx"]).toBe(shadow.received.length);
    expect(tooLate).toMatchObject({ code: 1, stderr: `job ${id} is cancelled: it cannot be resumed any more\n` });
  });

  it("warns that nothing feeds it, waits for a host, and loops over the matching requests", async () => {
    const { stage, shadow } = await createStage(requests);
    const flags = ["--target", "staging", "--loop", "2", "--asap", "--where", "path=even", "--where", "method=GET"];
    const following = stage.spawn("replay", "peak", ...flags);
    let output = "";
    following.stderr?.on("data", (text) => (output += text));
    const dryRun = await stage.command("replay", "peak", ...flags, "--dry-run");
    const left = stage.spawn("replay", "peak", "--target", "staging", "--at", "+1h");
    let leftOutput = "";
    left.stderr?.on("data", (text) => (leftOutput += text));
    await until(() => leftOutput.includes("scheduled"));
    // timeout(1) and some supervisors send a signal twice.
    left.kill("SIGINT");
    left.kill("SIGINT");
    const [leftCode] = await once(left, "exit");
    await until(() => output.includes("warning: nothing feeds the job"));
    const before = shadow.received.length;
    await stage.startHost();
    const [code] = await once(following, "exit");

    expect(dryRun.code).toBe(0);
    expect(dryRun.stdout).toMatch(
      /requests +1,500\n[\s\S]*costs +nothing: the queue is a file; in SQS it would be \$0\.0000\d\d\n/,
    );
    expect(leftCode).toBe(130);
    expect(leftOutput).toMatch(/job \S+ keeps running: .*; stop it with jobs pause \S+ or jobs cancel \S+\n$/);
    expect(before).toBe(0);
    expect(code).toBe(0);
    expect(output).toMatch(/^peak to staging at asap, 2 times: 1,500 requests\n/);
    expect(output).toMatch(/done in 0:\d\d; 1,500 requests: 2xx 1,500; 4,500 left out\n$/);
    const taken = requests.filter(({ path }) => path.includes("even")).map(({ path }) => path);
    expect(shadow.paths.toSorted()).toEqual([...taken, ...taken].sort());
  });

  it("fails if requests were not delivered, and says how many and where they are", async () => {
    // So few that the breaker stays closed.
    const { stage, shadow } = await createStage(requests.slice(0, 8));
    await stage.startHost();
    // A POST is not sent twice: the shadow may have acted on it.
    shadow.behaviour = ({ method }) => (method === "POST" ? "reset" : { status: 200 });
    const { code, stdout, stderr } = await stage.command("replay", "peak", "--target", "staging", "--asap");
    const shown = await stage.command("jobs", "show", stdout.trim());

    expect(stderr).toContain("8 requests: 2xx 4, dead-lettered 4\n");
    expect(stderr).toMatch(/\n4 requests were not delivered: 4 dead letters \(spoa-relay dlq list staging\)\n$/);
    expect(code).toBe(1);
    expect(shown.stdout).toMatch(/requests +8 of 8 \(100%\)\n[\s\S]*undelivered +4 requests were not delivered/);
  });

  it("is due by its shortened silences", async () => {
    const times = [0, 100, 30_000, 30_100, 50_000];
    const silent = requests.slice(0, 5).map((each, i) => ({ ...each, capturedAtMs: recentHourMs + times[i] }));
    const { stage } = await createStage(silent);
    const flags = ["--target", "staging", "--max-gap", "2s"];
    const dryRun = await stage.command("replay", "peak", ...flags, "--dry-run");
    await stage.startHost();
    const id = await stage.replay(...flags);
    await until(async () => (await stage.progress(id)).job.anchor !== undefined);
    const { job, endsAtMs } = await stage.progress(id);

    expect(dryRun.stdout).toMatch(/takes +about 0:04\n/);
    expect((endsAtMs ?? Number.NaN) - (job.anchor?.atMs ?? Number.NaN)).toBeCloseTo(4_200, 3);
  });

  it("says what holds its target while it is held", async () => {
    const { stage, shadow } = await createStage(requests);
    const paused = "staging is paused: spoa-relay targets resume staging";
    await stage.startHost();
    await stage.command("targets", "pause", "staging");
    const following = stage.spawn("replay", "peak", "--target", "staging", "--speed", "0.1x");
    onTestFinished(() => void following.kill());
    let id = "";
    let output = "";
    following.stdout?.on("data", (text) => (id += text));
    following.stderr?.on("data", (text) => (output += text));
    await until(() => output.includes(paused));
    const held = await stage.command("jobs", "show", id.trim());
    const before = shadow.received.length;
    await stage.command("targets", "resume", "staging");
    await until(() => /\/s {2}ETA /.test(output));
    const resumed = await stage.command("jobs", "show", id.trim());
    await stage.command("jobs", "cancel", id.trim());
    await once(following, "exit");

    expect(output).toContain(`0%  0 of 3,000  ${paused}\n`);
    expect(held.stdout).toMatch(new RegExp(`status +running\n(?:.*\n)*held +${paused}\n`));
    expect(resumed.stdout).not.toContain("held");
    expect(before).toBe(0);
  });

  it("is refused with the reason, and no job is created", async () => {
    const { stage } = await createStage(requests.slice(0, 10));
    const mistakes: readonly (readonly [readonly string[], number, string])[] = [
      [["peak", "--target", "nix"], 2, "there is no target nix; the configuration has: staging"],
      [["peak", "--target", "staging", "--from", "-1h", "--to", "-2h"], 2, "is before --from"],
      [["peak", "--target", "staging", "--from", "2026-11-20T18:00:00"], 2, "It has no time zone"],
      [
        ["peak", "--target", "staging", "--at", "2026-01-01T00:00Z"],
        2,
        "the start time 2026-01-01T00:00:00.000Z is in the past",
      ],
      [
        ["peak", "--target", "staging", "--rate", "5/s", "--max-gap", "5s"],
        2,
        "the longest gap works only with a speed",
      ],
      [["peak", "--target", "staging", "--to", "2026-01-01T00:00Z"], 1, "capture peak has no requests in this range"],
    ];
    const results = await Promise.all(mistakes.map(([args]) => stage.command("replay", ...args)));
    const list = await stage.command("jobs", "list");
    const unknown = await stage.command("jobs", "show", "20261122-175341-k3f");

    expect(results.map(({ code }) => code)).toEqual(mistakes.map(([, code]) => code));
    for (const [i, { stderr }] of results.entries()) expect(stderr).toContain(mistakes[i][2]);
    expect(list).toMatchObject({ code: 0, stdout: "no jobs; start one with spoa-relay replay\n" });
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining("there is no job 20261122-175341-k3f") });
  });
});

/** A stage whose host does not run yet, a shadow, and the arrival times of its requests. */
async function createStage(captured: readonly CapturedRequest[]) {
  const arrivedAtMs: number[] = [];
  // Called for each request as soon as it is among the received ones.
  const shadow = await ShadowServer.start(() => {
    arrivedAtMs.push(Date.now());
    return { status: 200 };
  });
  const stage = await CaptureStage.create(shadow.url.origin, captured);
  onTestFinished(() => stage.close());
  return { stage, shadow, arrivedAtMs };
}

function numberOf(path: string): number {
  return Number.parseInt(path.slice(1), 10);
}

function toText({ method, path, headers, body }: CapturedRequest): string {
  return [method, path, ...comparedHeaders(headers), Buffer.from(body).toString("base64")].join("\n");
}

function toReceivedText({ method, path, rawHeaders, body }: ReceivedRequest): string {
  return [method, path, ...comparedHeaders(rawHeaders), body.toString("base64")].join("\n");
}

/** Without the headers that the relay writes itself. */
function comparedHeaders(headers: readonly string[]): readonly string[] {
  const lines: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (!/^(?:x-mirror-|connection$|content-length$)/i.test(headers[i])) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  }
  return lines;
}
