import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../log/log.ts";

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

const restartMs = 1_000;
// Longer than an agent or a host needs for an orderly shutdown.
const defaultTimeouts: Timeouts = { startMs: 2_000, giveUpMs: 30_000 };

/**
 * Runs parts of the program in their own processes until the signal is aborted, and restarts a part that exits by
 * itself. Stops all parts if one fails to start. Resolves with the largest exit code of the parts, at least 1 if one
 * failed to start.
 */
export async function supervise(
  parts: readonly Part[],
  log: Logger,
  stop: AbortSignal,
  { startMs, giveUpMs } = defaultTimeouts,
): Promise<number> {
  const failed = new AbortController();
  const ending = AbortSignal.any([stop, failed.signal]);
  const run = (part: Part) => runOnce(part, log, ending, giveUpMs);
  const codes = await Promise.all(
    parts.map((part) => keepRunning(part, log, ending, run, startMs, () => failed.abort())),
  );
  return Math.max(...codes);
}

async function keepRunning(
  part: Part,
  log: Logger,
  ending: AbortSignal,
  run: (part: Part) => Promise<number>,
  startMs: number,
  fail: () => void,
): Promise<number> {
  for (let first = true; ; first = false) {
    const startedAtMs = Date.now();
    const code = await run(part);
    if (ending.aborted) return code;
    if (first && Date.now() - startedAtMs < startMs) {
      fail();
      return Math.max(code, 1);
    }
    log.error(
      { event: "part-ended", part: part.name, code },
      `${part.name} exited by itself with code ${code}; restarting it in ${restartMs / 1_000} s`,
    );
    await sleep(restartMs, undefined, { signal: ending }).catch(() => {});
    if (ending.aborted) return 1;
  }
}

async function runOnce(part: Part, log: Logger, ending: AbortSignal, giveUpMs: number): Promise<number> {
  // Detached, so that Ctrl+C signals only the supervisor and each part receives one signal, not two. The IPC channel closes
  // if the supervisor dies.
  const child = spawn(
    process.execPath,
    [...process.execArgv, ...(part.nodeFlags ?? []), process.argv[1], ...part.args],
    {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    },
  );
  let killing: NodeJS.Timeout | undefined;
  const terminate = (): void => {
    child.kill("SIGTERM");
    killing = setTimeout(() => {
      log.error(
        { event: "part-killed", part: part.name },
        `${part.name} did not exit within ${giveUpMs / 1_000} s of SIGTERM; killing it`,
      );
      child.kill("SIGKILL");
    }, giveUpMs);
  };
  ending.addEventListener("abort", terminate, { once: true });
  if (ending.aborted) terminate();
  const code = await exitCode(child);
  ending.removeEventListener("abort", terminate);
  clearTimeout(killing);
  return code;
}

async function exitCode(child: ChildProcess): Promise<number> {
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}
