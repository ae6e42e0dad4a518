import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { writeCapture } from "../../relay/capture/capture-writer.ts";
import { type Config, loadConfig } from "../../relay/config.ts";
import type { Job } from "../../relay/job/job.ts";
import { type JobProgress, readProgress } from "../../relay/job/job-progress.ts";
import { type JobRequest, startJob } from "../../relay/job/job-request.ts";
import type { OutgoingMessage } from "../../relay/queue/port.ts";
import { openStores, type Stores } from "../../relay/stores.ts";
import { freePorts } from "./free-ports.ts";
import { HostChild } from "./host-child.ts";
import { pack, requests } from "./packs.ts";
import { recentHourMs } from "./recent-hour.ts";
import { ShadowServer } from "./shadow-server.ts";
import { temporaryDirectory } from "./temporary-directory.ts";
import { until } from "./until.ts";

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

  /** @param keys more keys of the target, in YAML flow style. Over one connection requests arrive as they are sent. */
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
      // What was under way when a host was killed comes again soon.
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

  /** As if the machine had gone. */
  async kill(): Promise<void> {
    this.#host?.kill();
    await this.#host?.ended();
  }

  /** Begins to replay the capture at the target. */
  startJob(request: Partial<JobRequest> = {}): Promise<Job> {
    const { state: jobs, archives: captures } = this.stores;
    const place = { targets: this.#config.targets, captures, jobs };
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

  /** As agents do. */
  async enqueueLive(...messages: readonly OutgoingMessage[]): Promise<void> {
    await this.stores.ingress.queue.send(messages);
  }

  async #capture(timesMs: readonly number[], perPack = 50): Promise<void> {
    const archive = this.stores.archives.get("peak");
    if (!archive) throw new Error("there is no capture");
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
