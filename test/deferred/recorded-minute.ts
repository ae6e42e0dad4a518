import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "undici";
import { loadConfig } from "../../relay/config/load.ts";
import type { Received } from "../../relay/demo/json-server.ts";
import { type JobProgress, readProgress } from "../../relay/job/job-progress.ts";
import type { CapturedRequest } from "../../relay/pack/captured-request.ts";
import { openStores, type Stores } from "../../relay/stores.ts";
import { until } from "../support/clocks/until.ts";
import { type CommandResult, spoaRelay } from "../support/processes/command-line.ts";
import { Rig } from "../support/processes/rig.ts";

const connections = 64;

/** Requests of clients through HAProxy are in the capture `peak`; the target `staging` only receives requests of replay jobs. */
export class RecordedMinute {
  readonly rig: Rig;
  readonly #stores: Stores;

  /** Sends each request at its offset from the first one, and waits until all of them are captured. */
  static async record(requests: readonly CapturedRequest[]): Promise<RecordedMinute> {
    const rig = await Rig.start({
      // A short visibility: the in-flight packs of a killed host are delivered again after 2 s.
      host: "  visibility: 2s",
      targets: { staging: "rate: unlimited, concurrency: 256, sample: 0%, host: original" },
      captures: { peak: "store: ./captures" },
    });
    try {
      await send(rig.frontend, requests);
      await until(async () => (await rig.hostStats()).captures?.peak.fates.captured === requests.length, 120_000);
      return new RecordedMinute(rig, await openStores(loadConfig(rig.configFile, {})));
    } catch (error) {
      await rig.stop();
      throw error;
    }
  }

  private constructor(rig: Rig, stores: Stores) {
    this.rig = rig;
    this.#stores = stores;
  }

  /** The requests that the shadow has received since the last job was started, in order of arrival. */
  get received(): readonly Received[] {
    return this.rig.shadows.staging.received;
  }

  command(...args: readonly string[]): Promise<CommandResult> {
    return spoaRelay(...args, "--config", this.rig.configFile);
  }

  /** Forgets the received requests, starts a job, and resolves with its id. */
  async replay(...flags: readonly string[]): Promise<string> {
    this.rig.shadows.staging.received.length = 0;
    const { code, stdout, stderr } = await this.command("replay", "peak", "--target", "staging", "--detach", ...flags);
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  async untilDone(id: string, withinMs: number): Promise<JobProgress> {
    await until(async () => (await this.progress(id)).job.status === "done", withinMs);
    return this.progress(id);
  }

  progress(id: string): Promise<JobProgress> {
    return readProgress(this.#stores.state, id);
  }

  async stop(): Promise<void> {
    await this.#stores.close();
    await this.rig.stop();
  }
}

async function send(frontend: string, requests: readonly CapturedRequest[]): Promise<void> {
  const pool = new Pool(frontend, { connections });
  const startMs = performance.now() - requests[0].capturedAtMs;
  const answers: Promise<void>[] = [];
  for (const { capturedAtMs, method, path, headers, body } of requests) {
    const aheadMs = startMs + capturedAtMs - performance.now();
    if (aheadMs > 0) await sleep(aheadMs);
    answers.push(pool.request({ method, path, headers: [...headers], body }).then((answer) => answer.body.dump()));
  }
  await Promise.all(answers);
  await pool.close();
}
