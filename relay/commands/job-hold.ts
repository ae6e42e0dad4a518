import type { TargetConfig } from "../config/config.ts";
import type { Job } from "../job/job.ts";
import { printable } from "../pack/request-text.ts";
import { whyHeld } from "../replay/live-target.ts";
import type { Controls } from "../state/port.ts";

/** Why the target sends nothing of a running job, in one line; undefined if it sends. Throws `StateError`. */
export async function readJobHold(
  controls: Pick<Controls, "read">,
  targets: readonly TargetConfig[],
  { status, target: name }: Job,
): Promise<string | undefined> {
  const target = targets.find((each) => each.name === name);
  if (!target || (status !== "running" && status !== "fed")) return undefined;
  const { control } = await controls.read(name);
  if (control.settings?.paused) return `${name} is paused: spoa-relay targets resume ${name}`;
  const held = whyHeld(target, control, Date.now());
  return held && `${name} is held: ${printable(held)}`;
}
