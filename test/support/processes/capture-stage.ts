import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openArchive } from "../../../relay/archive/archive-place.ts";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { type JobProgress, readProgress } from "../../../relay/job/job-progress.ts";
import type { CapturedRequest } from "../../../relay/pack/captured-request.ts";
import { openStores, type Stores } from "../../../relay/stores.ts";
import { until } from "../clocks/until.ts";
import { freePorts } from "../servers/free-ports.ts";
import { type CommandResult, spoaRelay } from "./command-line.ts";
import { HostChild } from "./host-child.ts";

const main = resolve(import.meta.dirname, "../../../relay/main.ts");

/** A capture `peak` in a directory, a target `staging`, and a host in a process of its own that the test starts and kills. */
export class CaptureStage {
  readonly configFile: string;
  readonly #directory: string;
  readonly #stores: Stores;
  #host: HostChild | undefined;

  /** @param shadow origin of the target */
  static async create(shadow: string, requests: readonly CapturedRequest[]): Promise<CaptureStage> {
    const directory = mkdtempSync(join(tmpdir(), "spoa-relay-"));
    const configFile = join(directory, "spoa-relay.yaml");
    const [port] = await freePorts(1);
    const lines = [
      "queue: embedded:./data",
      // A short visibility: the in-flight packs of a killed host are delivered again after 2 s.
      `host: { admin: "127.0.0.1:${port}", visibility: 2s }`,
      "captures: { peak: { store: ./captures } }",
      `targets: { staging: { url: "${shadow}", rate: unlimited, host: original } }`,
    ];
    writeFileSync(configFile, `${lines.join("\n")}\n`);
    const archive = await openArchive({ kind: "directory", directory: join(directory, "captures") });
    const shares = toPacks(requests, { agent: "edge~1", sequence: 1 }).map((pack) => ({
      pack,
      requests: pack.requests,
    }));
    await writeCapture(archive, "peak", shares);
    archive.close();
    return new CaptureStage(directory, configFile, await openStores(loadConfig(configFile, {})));
  }

  private constructor(directory: string, configFile: string, stores: Stores) {
    this.#directory = directory;
    this.configFile = configFile;
    this.#stores = stores;
  }

  async startHost(): Promise<void> {
    this.#host = await HostChild.start(this.configFile);
  }

  /** Sends SIGKILL. */
  killHost(): void {
    this.#host?.kill();
  }

  async hostEnded(): Promise<void> {
    await this.#host?.ended();
  }

  /** Runs a command of the command line with this configuration. */
  command(...args: readonly string[]): Promise<CommandResult> {
    return spoaRelay(...args, "--config", this.configFile);
  }

  /** Starts a command of the command line with this configuration, and does not wait for its end. */
  spawn(...args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [main, ...args, "--config", this.configFile]);
  }

  /** Starts a job and resolves with its id. */
  async replay(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.command("replay", "peak", "--target", "staging", "--detach", ...args);
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  }

  progress(id: string): Promise<JobProgress> {
    return readProgress(this.#stores.state, id);
  }

  async untilDone(id: string, withinMs?: number): Promise<JobProgress> {
    await until(async () => (await this.progress(id)).job.status === "done", withinMs);
    return this.progress(id);
  }

  async close(): Promise<void> {
    this.killHost();
    await this.hostEnded();
    await this.#stores.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
