import { spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { loadConfig } from "../relay/config/load.ts";
import { ConfigError } from "../relay/config/text.ts";
import { explainRate, parseRatePerSecond } from "../relay/config/units.ts";
import { configFileName } from "../relay/deployed/functions.ts";
import { hideUrlPasswords } from "../relay/redaction/url-passwords.ts";
import { toEstimate } from "./estimate/estimate.ts";
import { toEstimateText, toPlanText } from "./estimate/plan-text.ts";
import { toLayout } from "./layout.ts";
import { assertNothingLeft, deletesRemoved } from "./removed-queues.ts";

// `npm run deploy` runs `cdk deploy` for all stacks; with --dry-run it prints the resources and their cost instead.

interface Flags {
  readonly config: string;
  readonly dryRun?: boolean;
  readonly deleteRequests?: boolean;
  readonly rate: string;
}

const root = resolve(import.meta.dirname, "..");

function createProgram(): Command {
  return new Command("npm run deploy --")
    .description(
      "Deploys spoa-relay.yaml to AWS: creates its resources, or changes those that exist. cdk asks before it adds permissions.",
    )
    .argument("[cdk...]", "options for cdk deploy, passed on unchanged")
    .option("-c, --config <file>", "configuration file", configFileName)
    .option("--dry-run", "print the resources and their monthly cost; creates nothing and needs no AWS account")
    .option(
      "--delete-requests",
      "with aws.keepData: false, deploy even if that deletes requests of targets that are no longer in the configuration",
    )
    .option("--rate <rate>", "average rate of mirrored requests, for --dry-run", assertRate, "100/s")
    .allowUnknownOption()
    .addHelpText(
      "after",
      `
Examples:
  npm run deploy -- --dry-run --rate 500/s
  npm run deploy -- --config staging.yaml
  npm run deploy -- --require-approval never --profile shadows`,
    )
    .exitOverride()
    .action(async (rest: readonly string[], { config: file, dryRun, deleteRequests, rate }: Flags) => {
      const config = loadConfig(file, process.env);
      const layout = toLayout(config);
      if (!dryRun) {
        if (deletesRemoved(config) && !deleteRequests) {
          useProfile(rest);
          await assertNothingLeft(config);
        }
        process.exitCode = await deploy(resolve(config.file), rest);
        return;
      }
      if (rest.length > 0) throw new ConfigError([`--dry-run does not run cdk: leave out ${rest.join(" ")}`]);
      const estimate = toEstimate(config, layout, parseRatePerSecond(rate) ?? 0);
      const parts = [`${file} needs:`, toPlanText(config, layout), toEstimateText(estimate, layout, rate)];
      if (deletesRemoved(config)) {
        parts.push(
          "aws.keepData is false: queues of targets that are no longer in the file are deleted. The deployment is refused while they have requests.",
        );
      }
      const command = `npm run deploy${file === configFileName ? "" : ` -- --config ${file}`}`;
      process.stdout.write(`${parts.join("\n\n")}\n\nNothing has been deployed. To deploy: ${command}\n`);
    });
}

/** Makes this process use the credentials that cdk is told to use. */
function useProfile(cdkArgs: readonly string[]): void {
  const profile = /(?:^| )--profile[= ](\S+)/.exec(cdkArgs.join(" "))?.[1];
  if (profile !== undefined) process.env.AWS_PROFILE = profile;
}

/** Runs `cdk deploy` and resolves with its exit code. */
async function deploy(configFile: string, args: readonly string[]): Promise<number> {
  const cdk = ["deploy", "--all", "-c", `config=${configFile}`, ...args];
  const child = spawn(resolve(root, "node_modules/.bin/cdk"), cdk, { cwd: root, stdio: "inherit" });
  // The terminal sends Ctrl+C to cdk as well: ignore it here, and wait until cdk has ended in order.
  process.on("SIGINT", () => {});
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}

function assertRate(text: string): string {
  const mistake = explainRate(text);
  if (mistake !== undefined) throw new InvalidArgumentError(`${mistake}.`);
  if (parseRatePerSecond(text) === Number.POSITIVE_INFINITY) {
    throw new InvalidArgumentError("An estimate needs a rate with a limit, such as 500/s.");
  }
  return text;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  // commander has already printed its own errors.
  if (!(error instanceof CommanderError)) process.stderr.write(`${hideUrlPasswords((error as Error).message)}\n`);
  process.exitCode = toExitCode(error);
}

function toExitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return error instanceof ConfigError ? 2 : 1;
}
