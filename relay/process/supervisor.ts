import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../log/log.ts";
import { Outage } from "../log/outage.ts";
import { forceRequest, type StopSignals } from "./stop-signals.ts";

/** A command of this program that runs in its own process. */
export interface Part {
  readonly name: string;
  readonly args: readonly string[];
  /** Flags for Node. */
  readonly nodeFlags?: readonly string[];
}

interface Timeouts {
  /**
   * A part that exits earlier failed to start, for example because its port is taken or its directory is not writable.
   */
  readonly startMs: number;
  /** A part that has not exited this long after SIGTERM is killed. */
  readonly giveUpMs: number;
}

/** How a part ended: with an exit code, or by a signal. */
interface Ending {
  readonly code?: number;
  readonly signal?: NodeJS.Signals;
}

const restartMs = 1_000;
// How long parts have to end by themselves after a second signal.
const forcedMs = 1_000;
// Longer than an agent or a host needs for an orderly shutdown.
const defaultTimeouts: Timeouts = { startMs: 2_000, giveUpMs: 30_000 };

/**
 * Runs parts of the program in their own processes until `stop` is aborted, and restarts a part that ends by itself. Stops all
 * parts if one fails to start; ends them at once if `force` is aborted. Resolves with the largest exit code of the parts: 1 for
 * a part that a signal ended, and at least 1 if one failed to start.
 */
export async function supervise(
  parts: readonly Part[],
  log: Logger,
  { stop, force }: StopSignals,
  { startMs, giveUpMs } = defaultTimeouts,
): Promise<number> {
  const failed = new AbortController();
  const ending = AbortSignal.any([stop, failed.signal]);
  force.addEventListener("abort", () =>
    log.error({ event: "forced" }, "a second signal: agent and host end at once, and give up what is in their memory"),
  );
  const codes = await Promise.all(
    parts.map((part) =>
      new Supervision(part, log, { stop: ending, force }, { startMs, giveUpMs }).run(() => failed.abort()),
    ),
  );
  return Math.max(...codes);
}

/** The runs of one part. */
class Supervision {
  readonly #part: Part;
  readonly #log: Logger;
  readonly #signals: StopSignals;
  readonly #timeouts: Timeouts;
  readonly #outage: Outage;
  #killed = false;

  constructor(part: Part, log: Logger, signals: StopSignals, timeouts: Timeouts) {
    this.#part = part;
    this.#log = log;
    this.#signals = signals;
    this.#timeouts = timeouts;
    this.#outage = new Outage(log, {
      down: ["part-ended", `${part.name} ended by itself; restarting it in ${restartMs / 1_000} s`],
      up: ["part-restarted", `${part.name} runs again`],
      about: { part: part.name },
    });
  }

  /** @param fail called if the part fails to start */
  async run(fail: () => void): Promise<number> {
    const { name } = this.#part;
    const { stop } = this.#signals;
    for (let first = true; ; first = false) {
      const startedAtMs = performance.now();
      const settled = setTimeout(() => this.#outage.recover(), this.#timeouts.startMs);
      const ending = await this.#runOnce();
      clearTimeout(settled);
      // Nothing is lost with a part that SIGTERM ended: it had not started yet.
      const code = ending.code ?? (stop.aborted && ending.signal === "SIGTERM" ? 0 : 1);
      if (stop.aborted) {
        if (code !== 0 && !this.#killed)
          this.#log.error({ event: "part-failed", part: name, ...ending }, `${name} ${toText(ending)}`);
        return code;
      }
      if (first && performance.now() - startedAtMs < this.#timeouts.startMs) {
        const text = `${name} ${toText(ending)} before it was up: stopping`;
        this.#log.error({ event: "part-failed", part: name, ...ending }, text);
        fail();
        return Math.max(code, 1);
      }
      this.#outage.fail(toText(ending), { fields: ending });
      await sleep(restartMs, undefined, { signal: stop }).catch(() => {});
      if (stop.aborted) return 1;
    }
  }

  async #runOnce(): Promise<Ending> {
    const { stop, force } = this.#signals;
    const { args, nodeFlags = [] } = this.#part;
    // Detached, so that Ctrl+C reaches only the supervisor. The IPC channel closes if the supervisor dies.
    const child = spawn(process.execPath, [...process.execArgv, ...nodeFlags, process.argv[1], ...args], {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const killing: NodeJS.Timeout[] = [];
    const killAfter = (ms: number) => killing.push(setTimeout(() => this.#kill(child, ms), ms));
    const end = () => {
      child.kill("SIGTERM");
      killAfter(this.#timeouts.giveUpMs);
    };
    const endNow = () => {
      // The part may be exiting: then there is nobody to ask.
      child.send(forceRequest, () => {});
      killAfter(forcedMs);
    };
    stop.addEventListener("abort", end, { once: true });
    force.addEventListener("abort", endNow, { once: true });
    if (stop.aborted) end();
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    stop.removeEventListener("abort", end);
    force.removeEventListener("abort", endNow);
    for (const timer of killing) clearTimeout(timer);
    return { ...(code !== null && { code }), ...(signal !== null && { signal }) };
  }

  #kill(child: ChildProcess, afterMs: number): void {
    const { name } = this.#part;
    this.#log.error(
      { event: "part-killed", part: name },
      `${name} did not exit within ${afterMs / 1_000} s of SIGTERM; killing it`,
    );
    this.#killed = true;
    child.kill("SIGKILL");
  }
}

function toText({ code, signal }: Ending): string {
  return signal === undefined ? `exited with code ${code}` : `was ended by ${signal}`;
}
