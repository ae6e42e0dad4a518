import { spawn } from "node:child_process";
import { basename } from "node:path";
import { CredentialsError } from "./credentials-error.ts";
import { maxTokenAnswerBytes } from "./token-answer.ts";

/**
 * Runs a program without a shell and resolves with its standard output. If it prints more than 64 KiB or runs longer
 * than ten seconds, it is killed together with the processes that it started. Rejects with `CredentialsError`. The
 * error names only the program, because its arguments and output may contain secrets.
 */
export function runTokenCommand([program, ...args]: readonly string[], withinMs = 10_000): Promise<string> {
  return new Promise((resolve, reject) => {
    // Detached, so that the program has its own process group: children of a script can then be killed with it.
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], detached: true });
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (reason: string) => {
      clearTimeout(timer);
      reject(new CredentialsError(`${basename(program)} ${reason}`));
    };
    const kill = (reason: string) => {
      if (child.pid !== undefined) killGroup(child.pid);
      // A child that left the process group may keep the pipe open forever.
      child.stdout.destroy();
      fail(reason);
    };
    const timer = setTimeout(() => kill(`did not exit within ${withinMs / 1_000} s`), withinMs);
    child.stdout.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes > maxTokenAnswerBytes) kill(`printed more than ${maxTokenAnswerBytes / 1_024} KiB`);
    });
    child.on("error", ({ code }: NodeJS.ErrnoException) => fail(`cannot be started: ${code}`));
    child.on("close", (code, signal) => {
      if (code !== 0) return fail(code === null ? `was killed by ${signal}` : `exited with code ${code}`);
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString());
    });
  });
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // The whole group has already exited.
  }
}
