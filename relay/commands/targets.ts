import type { Command } from "commander";
import { bounds } from "../config/bounds.ts";
import { explainRate, explainShare, parseCount } from "../config/units.ts";
import type { Amount, LiveSetting, TargetAnswer } from "../control/answers.ts";
import { type ControlClient, ControlError, type SettingsChange } from "../control/client.ts";
import { explainUnknown } from "../job/job-request.ts";
import { printable } from "../pack/request-text.ts";
import { type ConfigFlag, formatTable, plural, print, WrongArgument, withConfig } from "./command-line.ts";
import { withControl, withFlagNames } from "./control.ts";

export function addTargets(program: Command): void {
  const targets = program.command("targets").description("list targets, or change them while they run");
  withConfig(
    targets.command("list"),
    "list the targets: the live setting, and the configured one in brackets if it differs",
  )
    .addHelpText("after", "\nExample: spoa-relay targets list")
    .action(async ({ config }: ConfigFlag) =>
      withControl(config, async (client) => print(formatTargets(await client.targets()))),
    );
  withConfig(targets.command("set"), "change the settings of a target; all workers follow within two seconds")
    .argument("<target>")
    .option("--rate <rate>", "200/s, 30/min, 10/h or unlimited; configured returns to the configuration")
    .option("--concurrency <n>", "concurrent requests of each replay process, 1 to 10000; or configured")
    .option("--sample <share>", "share of the requests that is replayed, such as 50%; or configured")
    .addHelpText("after", "\nExample: spoa-relay targets set staging --rate 100/s --sample configured")
    .action(async (target: string, { config, ...flags }: ConfigFlag & SettingFlags, command: Command) => {
      const change = toChange(flags);
      if (Object.keys(change).length === 0) {
        command.error("error: name what to change: --rate, --concurrency or --sample");
      }
      const mistakes = findMistakes(flags);
      if (mistakes.length > 0) throw new WrongArgument(mistakes.join("\n"));
      await changeTarget(config, target, (client) =>
        withFlagNames(["rate", "concurrency", "sample"], () => client.changeTarget(target, change)),
      );
    });
  withConfig(targets.command("pause"), "stop sending to a target within two seconds; its requests wait in its queue")
    .argument("<target>")
    .addHelpText("after", "\nExample: spoa-relay targets pause staging")
    .action(async (target: string, { config }: ConfigFlag) =>
      changeTarget(config, target, (client) => client.pauseTarget(target)),
    );
  withConfig(targets.command("resume"), "start sending to a paused target again")
    .argument("<target>")
    .addHelpText("after", "\nExample: spoa-relay targets resume staging")
    .action(async (target: string, { config }: ConfigFlag) =>
      changeTarget(config, target, (client) => client.resumeTarget(target)),
    );
}

/** Changes a target and prints it. If no host answers, the configuration decides whether there is such a target. */
async function changeTarget(
  configFile: string,
  target: string,
  change: (client: ControlClient) => Promise<TargetAnswer>,
): Promise<void> {
  await withControl(configFile, async (client, { targets }) => {
    try {
      print(formatTargets([await change(client)]));
    } catch (error) {
      if (!(error instanceof ControlError)) throw error;
      const names = targets.map(({ name }) => name);
      if (error.code !== "UNREACHABLE" || names.includes(target)) throw error;
      throw new WrongArgument(explainUnknown("target", target, names));
    }
  });
}

/** What a target is doing now, in a few words. */
export function describeState({ held, pace, problem }: TargetAnswer): string {
  if (problem !== undefined) return `queue does not answer: ${printable(problem)}`;
  if (held !== undefined) return printable(held);
  return pace < 1
    ? `sends at ${Number((pace * 100).toPrecision(2))}% of its rate: the shadow asked to slow down`
    : "sends";
}

/** The live setting, and the configured one in brackets if it differs. */
export function formatSetting({ live, configured }: LiveSetting<string | number>): string {
  return live === configured ? `${live}` : `${live} (${configured})`;
}

interface SettingFlags {
  readonly rate?: string;
  readonly concurrency?: string;
  readonly sample?: string;
}

/** What is wrong with the values, whether or not a host answers: one line a flag. */
function findMistakes(flags: SettingFlags): readonly string[] {
  const checks = { rate: explainRate, concurrency: explainConcurrency, sample: explainShare };
  return Object.entries(checks).flatMap(([name, explain]) => {
    const text = flags[name as keyof SettingFlags];
    const mistake = text === undefined || text === "configured" ? undefined : explain(text);
    return mistake === undefined ? [] : [`--${name}: ${mistake}`];
  });
}

function explainConcurrency(text: string): string | undefined {
  if (!/^\d+$/.test(text)) return "must be a whole number, or configured";
  const { least, most } = bounds.concurrency;
  return parseCount(text, bounds.concurrency) === undefined ? `must be from ${least} to ${most}` : undefined;
}

function toChange({ rate, concurrency, sample }: SettingFlags): SettingsChange {
  const value = (text: string) => (text === "configured" ? null : text);
  return {
    ...(rate !== undefined && { rate: value(rate) }),
    ...(concurrency !== undefined && { concurrency: concurrency === "configured" ? null : Number(concurrency) }),
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
  return [formatTable([names, ...rows], process.stdout), ...targets.flatMap(describeCredentials)].join("\n");
}

function describeCredentials({ name, credentialsFor }: TargetAnswer): readonly string[] {
  if (!credentialsFor) return [];
  const which = credentialsFor === "all" ? "every request" : "requests that were captured with credentials";
  return [`${name}: its token or signature is for ${which}`];
}

function formatAmount({ requests, messages }: Amount): string {
  if (requests !== undefined) return `${requests}`;
  return messages === undefined ? "?" : plural(messages, "pack");
}
