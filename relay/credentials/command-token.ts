import { spawn } from "node:child_process";
import { basename } from "node:path";
import { CredentialsError } from "./credentials-error.ts";
import { maxTokenAnswerBytes } from "./token-answer.ts";

/**
 * Runs a program, without a shell, and resolves with what it prints on standard output: 64 KiB and ten seconds at most; then
 * it is killed with all that it has started. Rejects with `CredentialsError`, which names the program alone: secrets stand in
 * arguments and in what it prints.
 */
export function runTokenCommand([program, ...args]: readonly string[], withinMs = 10_000): Promise<string> {
  return new Promise((resolve, reject) => {
    // It is asked nothing. A group of its own, since what a script has started would go on without it.
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], detached: true });
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (mistake: string) => {
      clearTimeout(timer);
      reject(new CredentialsError(`${basename(program)} ${mistake}`));
    };
    const kill = (mistake: string) => {
      if (child.pid !== undefined) killGroup(child.pid);
      // Who has left the group may hold it open for ever.
      child.stdout.destroy();
      fail(mistake);
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
    // All of it has ended by itself.
  }
}
