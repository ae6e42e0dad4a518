import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const cached = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "spoa-relay/prometheus/promtool");
const program = existsSync(cached) ? cached : "promtool";

/** The reason why promtool cannot be used, or undefined. */
export const promtoolMissing: string | undefined =
  spawnSync(program, ["--version"]).error && "promtool is missing: sh .ci/setup promtool";

if (promtoolMissing) process.stderr.write(`skipped: ${promtoolMissing}\n`);

/** Runs promtool; returns its output and whether it succeeded. */
export function promtool(args: readonly string[], input?: string): { readonly ok: boolean; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { input, encoding: "utf8" });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}
