import { execFile } from "node:child_process";
import { basename } from "node:path";
import { CredentialsError } from "./credentials-error.ts";
import { maxTokenAnswerBytes } from "./token-answer.ts";

const withinMs = 10_000;

/**
 * Runs a program, without a shell, and resolves with what it prints on standard output: 64 KiB and ten seconds at most.
 * Rejects with `CredentialsError`, which names the program alone: secrets stand in arguments and in what it prints.
 */
export function runTokenCommand([program, ...args]: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: withinMs,
      maxBuffer: maxTokenAnswerBytes,
      killSignal: "SIGKILL",
      encoding: "utf8",
    } as const;
    const child = execFile(program, args, options, (error, stdout) => {
      if (error) reject(new CredentialsError(`${basename(program)} ${toMistake(error)}`));
      else resolve(stdout);
    });
    // It is asked nothing.
    child.stdin?.on("error", () => {}).end();
  });
}

function toMistake({ code, killed, signal }: { code?: unknown; killed?: boolean; signal?: unknown }): string {
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `prints more than ${maxTokenAnswerBytes / 1_024} KiB`;
  if (killed) return `does not end within ${withinMs / 1_000} s`;
  if (typeof code === "number") return `ends with code ${code}`;
  return typeof code === "string" ? `cannot be started: ${code}` : `is ended by ${signal}`;
}
