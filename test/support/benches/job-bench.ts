import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import type { Config } from "../../../relay/config/config.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import type { Job } from "../../../relay/job/job.ts";
import { type JobProgress, readProgress } from "../../../relay/job/job-progress.ts";
import { type JobRequest, startJob } from "../../../relay/job/job-request.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { openStores, type Stores } from "../../../relay/stores.ts";
import { recentHourMs } from "../clocks/recent-hour.ts";
import { until } from "../clocks/until.ts";
import { pack, requests } from "../data/packs.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";
import { HostChild } from "../processes/host-child.ts";
import { freePorts } from "../servers/free-ports.ts";
import { ShadowServer } from "../servers/shadow-server.ts";

export interface Arrival {
  readonly path: string;
  readonly id: string;
  readonly atMs: number;
}

/** A real host in a process of its own, a capture `peak` in a directory, and the target `staging` with a real shadow. */
export class JobBench {
  readonly stores: Stores;
  readonly arrivals: Arrival[] = [];
  readonly #config: Config;
  #host: HostChild | undefined;

  /** @param keys further keys of the target, in YAML flow style. With one connection requests arrive in the order of sending. */
  static async start(timesMs: readonly number[], keys = "rate: unlimited, concurrency: 1"): Promise<JobBench> {
    const arrivals: Arrival[] = [];
    const shadow = await ShadowServer.start(({ path, headers }) => {
      arrivals.push({ path, id: String(headers["x-mirror-id"]), atMs: Date.now() });
      return { status: 200 };
    });
    const directory = temporaryDirectory();
    const file = join(directory, "spoa-relay.yaml");
    const [port] = await freePorts(1);
    const lines = [
      "queue: embedded:./data",
      // A short visibility: the in-flight packs of a killed host are delivered again soon.
      `host: { admin: "127.0.0.1:${port}", visibility: 2s }`,
      "captures:",
      "  peak: { store: ./captures }",
      "targets:",
      `  staging: { url: "${shadow.url.origin}", ${keys} }`,
    ];
    writeFileSync(file, `${lines.join("\n")}\n`);
    const config = loadConfig(file, {});
    const bench = new JobBench(config, await openStores(config), arrivals);
    onTestFinished(async () => {
      await bench.kill();
      await bench.stores.close();
    });
    await bench.#capture(timesMs);
    await bench.run();
    return bench;
  }

  private constructor(config: Config, stores: Stores, arrivals: Arrival[]) {
    this.#config = config;
    this.stores = stores;
    this.arrivals = arrivals;
  }

  async run(): Promise<void> {
    this.#host = await HostChild.start(this.#config.file);
  }

  /** Sends SIGKILL, as if the machine had crashed. */
  async kill(): Promise<void> {
    this.#host?.kill();
    await this.#host?.ended();
  }

  /** Starts a job that replays the capture to the target. */
  startJob(request: Partial<JobRequest> = {}): Promise<Job> {
    const { state, archives: captures } = this.stores;
    const place = { targets: this.#config.targets, captures, jobs: state.jobs };
    const whole: JobRequest = { capture: "peak", target: "staging", pace: { kind: "speed", factor: 1 }, ...request };
    return startJob(place, whole, Date.now());
  }

  progress({ id }: Job): Promise<JobProgress> {
    return readProgress(this.stores.state, id);
  }

  async untilDone(job: Job, withinMs?: number): Promise<JobProgress> {
    await until(async () => (await this.progress(job)).job.status === "done", withinMs);
    return this.progress(job);
  }

  /** Puts a pack into the ingress queue, as agents do. */
  async enqueueLive(...messages: readonly OutgoingMessage[]): Promise<void> {
    await this.stores.ingress.queue.send(messages);
  }

  async #capture(timesMs: readonly number[], perPack = 50): Promise<void> {
    const archive = this.stores.archives.get("peak");
    if (!archive) throw new Error("the configuration has no capture");
    for (let start = 0; start < timesMs.length; start += perPack) {
      const part = requests(Math.min(perPack, timesMs.length - start)).map((request, i) => ({
        ...request,
        capturedAtMs: recentHourMs + timesMs[start + i],
        path: `/${start + i}`,
      }));
      const whole = pack({ agent: "edge~1", sequence: 1 + start / perPack, requests: part });
      await writeCapture(archive, "peak", [{ pack: whole, requests: whole.requests }]);
    }
  }
}
