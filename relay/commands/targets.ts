import type { Command } from "commander";
import type { Amount, LiveSetting, TargetAnswer } from "../control/answers.ts";
import type { SettingsChange } from "../control/client.ts";
import { printable } from "../control/shown-request.ts";
import { type ConfigFlag, formatTable, print, withConfig } from "./command-line.ts";
import { withControl } from "./control.ts";

export function addTargets(program: Command): void {
  const targets = program.command("targets").description("look at targets, or change them while they run");
  withConfig(targets.command("list"), "list the targets: what holds now, and in brackets what is configured")
    .addHelpText("after", "\nExample: spoa-relay targets list")
    .action(async ({ config }: ConfigFlag) =>
      withControl(config, async (client) => print(formatTargets(await client.targets()))),
    );
  withConfig(targets.command("set"), "change a target; all workers follow within two seconds")
    .argument("<target>")
    .option("--rate <rate>", "200/s, 30/min, 10/h, unlimited, or configured: as in the configuration")
    .option("--concurrency <n>", "requests under way at once, per replay process; or configured")
    .option("--sample <share>", "share of the requests, such as 50%; or configured")
    .addHelpText("after", "\nExample: spoa-relay targets set staging --rate 100/s --sample configured")
    .action(async (target: string, { config, ...flags }: ConfigFlag & SettingFlags) =>
      withControl(config, async (client) => print(formatTargets([await client.changeTarget(target, toChange(flags))]))),
    );
  withConfig(targets.command("pause"), "send nothing more to a target; its requests wait")
    .argument("<target>")
    .addHelpText("after", "\nExample: spoa-relay targets pause staging")
    .action(async (target: string, { config }: ConfigFlag) =>
      withControl(config, async (client) => print(formatTargets([await client.pauseTarget(target)]))),
    );
  withConfig(targets.command("resume"), "go on with a target that was paused")
    .argument("<target>")
    .addHelpText("after", "\nExample: spoa-relay targets resume staging")
    .action(async (target: string, { config }: ConfigFlag) =>
      withControl(config, async (client) => print(formatTargets([await client.resumeTarget(target)]))),
    );
}

/** What a target does now, in words. */
export function describeState({ held, pace, problem }: TargetAnswer): string {
  if (problem !== undefined) return `its queue does not answer: ${printable(problem)}`;
  if (held !== undefined) return printable(held);
  return pace < 1 ? `sends ${Number((pace * 100).toPrecision(2))}% of its rate: the shadow asked for less` : "sends";
}

/** What holds now, and in brackets what is configured where that is something else. */
export function formatSetting({ live, configured }: LiveSetting<string | number>): string {
  return live === configured ? `${live}` : `${live} (${configured})`;
}

interface SettingFlags {
  readonly rate?: string;
  readonly concurrency?: string;
  readonly sample?: string;
}

// Checked by the API alone, so that there is one opinion of what is right.
function toChange({ rate, concurrency, sample }: SettingFlags): SettingsChange {
  const value = (text: string) => (text === "configured" ? null : text);
  const isNumber = concurrency !== undefined && /^\d+$/.test(concurrency);
  return {
    ...(rate !== undefined && { rate: value(rate) }),
    ...(concurrency !== undefined && { concurrency: isNumber ? Number(concurrency) : value(concurrency) }),
    ...(sample !== undefined && { sample: value(sample) }),
  };
}

function formatTargets(targets: readonly TargetAnswer[]): string {
  const names = ["target", "rate", "concurrency", "sample", "waiting", "dead letters", "state"];
  const rows = targets.map((target) => [
    target.name,
    formatSetting(target.rate),
    formatSetting(target.concurrency),
    formatSetting(target.sample),
    formatAmount(target.waiting),
    formatAmount(target.deadLetters),
    describeState(target),
  ]);
  return formatTable([names, ...rows], process.stdout);
}

function formatAmount({ requests, messages }: Amount): string {
  if (requests !== undefined) return `${requests}`;
  return messages === undefined ? "?" : `${messages} packs`;
}
