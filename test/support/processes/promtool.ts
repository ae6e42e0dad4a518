import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

// `.ci/setup promtool` puts it there if the PATH has none.
const cached = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "spoa-relay/prometheus/promtool");
const program = existsSync(cached) ? cached : "promtool";

/** Runs promtool; returns its output and whether it succeeded. Throws if promtool is missing. */
export function promtool(args: readonly string[], input?: string): { readonly ok: boolean; readonly output: string } {
  const { error, status, stdout, stderr } = spawnSync(program, args, { input, encoding: "utf8" });
  if (error) throw new Error("promtool is missing: sh .ci/setup promtool", { cause: error });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}
