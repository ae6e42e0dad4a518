import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { exampleFile } from "../support/data/layouts.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { type CommandResult, run } from "../support/processes/command-line.ts";

const root = resolve(import.meta.dirname, "../..");

function deploy(...args: readonly string[]): Promise<CommandResult> {
  return run(process.execPath, join(root, "infra/deploy.ts"), ...args);
}

describe("npm run deploy", () => {
  it("prints the resources of each stack in words", async () => {
    const { code, stdout } = await deploy("--dry-run", "--config", exampleFile("two-regions"));

    expect(stdout).toContain("shop, in account 111122223333, eu-central-1:");
    expect(stdout).toContain("shop-us-east-1, in account 111122223333, us-east-1:");
    expect(stdout).toMatch(/queue +shop-virginia +packs for virginia; dead letters in shop-virginia-dlq/);
    expect(stdout).toMatch(/function +shop-replay-staging +sends to https:\/\/staging\.example, at most 200\/s/);
    expect(stdout).toMatch(/bucket +shop-captures +capture orders under orders\/orders\/, kept 14 d/);
    expect(stdout).toMatch(
      /policy +shop-agent-eu-central-1 +for the role of the agents: allows sending to shop, nothing else/,
    );
    expect(stdout).toMatch(/alarms +\d+ +by mail to shop@example\.com/);
    expect(stdout).toContain(
      `Nothing has been deployed. To deploy: npm run deploy -- --config ${exampleFile("two-regions")}\n`,
    );
    expect(code).toBe(0);
  });

  it("prints the cost of a month at a rate, and the month and region of the prices", async () => {
    const { stdout } = await deploy("--dry-run", "--rate", "30/min", "--config", exampleFile("two-regions"));

    expect(stdout).toContain("A month at 30/min around the clock, 1.31 million mirrored requests of 1.2 kB");
    expect(stdout).toMatch(/ {2}total +\$\d+\.\d\d$/m);
    expect(stdout).toMatch(
      /List prices of us-east-1, 20\d\d-\d\d, without the free tier\. Prices in eu-central-1 differ/,
    );
  });

  it("accepts a configuration without targets", async () => {
    const { code, stdout } = await deploy("--dry-run", "--config", exampleFile("captures-only"));

    expect(stdout).toContain("S3, capture orders");
    expect(code).toBe(0);
  });

  it.each([
    ["a configuration that is not for AWS", ["--config", "LOCAL"], "a deployment to AWS needs queue: https://sqs."],
    ["a file that does not exist", ["--config", "missing.yaml"], "missing.yaml: cannot be read"],
    ["a rate that cannot be parsed", ["--rate", "lots"], '"lots" is not a rate, such as 200/s'],
    ["a rate without a limit", ["--rate", "unlimited"], "An estimate needs a rate with a limit, such as 500/s."],
    ["arguments for cdk", ["--config", exampleFile("one-region"), "--profile", "p"], "leave out --profile p"],
  ])("refuses %s with 2, and says what to do", async (_, args, message) => {
    const { code, stderr } = await deploy("--dry-run", ...args.map((arg) => (arg === "LOCAL" ? local() : arg)));

    expect(stderr).toContain(message);
    expect(stderr).not.toContain("    at ");
    expect(code).toBe(2);
  });

  it("passes unknown arguments to cdk, and exits as cdk does", async () => {
    const helped = await deploy("--config", exampleFile("one-region"), "--", "--help");
    const empty = ["--app", "true", "--output", temporaryDirectory()];
    const failed = await deploy("--config", exampleFile("one-region"), ...empty);

    expect(helped.stdout).toContain("cdk deploy [STACKS..]");
    expect(helped.code).toBe(0);
    expect(failed.code).toBe(1);
  });

  it("refuses to delete the queue of a removed target while requests are in it, or may be", async () => {
    const { file, ledger } = await deployed();
    const targets = new Map([["old", new Map()]]);
    await ledger.recordFanOut({ pack: "p1", agent: "edge~1", sequence: 1, requests: 3, targets });
    const refused = await deploy("--config", file);
    const planned = await deploy("--dry-run", "--config", file);

    expect(refused.stderr).toMatch(/^nothing has been deployed: with aws\.keepData: false, it would delete the queues/);
    expect(refused.stderr).toContain("\ntarget old is no longer in the configuration: ");
    expect(refused.stderr).toContain("or leave out keepData to keep the queues, or add --delete-requests");
    expect(refused.code).toBe(1);
    expect(planned.stdout).toContain("The deployment is refused while they have requests.");
  });

  it("deploys if nothing is left of removed targets, or if it is told to delete what is left", async () => {
    const { file, ledger } = await deployed();
    const empty = ["--app", "true", "--output", temporaryDirectory()];
    const clean = await deploy("--config", file, ...empty);
    const targets = new Map([["old", new Map()]]);
    await ledger.recordFanOut({ pack: "p1", agent: "edge~1", sequence: 1, requests: 3, targets });
    const told = await deploy("--config", file, "--delete-requests", ...empty);

    for (const { stderr } of [clean, told]) expect(stderr).not.toContain("nothing has been deployed");
    // What cdk says about an empty app.
    expect(told.stderr).toBe(clean.stderr);
  });

  it("has help with examples", async () => {
    const { code, stdout } = await deploy("--help");

    expect(stdout).toContain("npm run deploy -- --dry-run --rate 500/s");
    expect(code).toBe(0);
  });
});

/** A deployment of which only the table answers. */
async function deployed() {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  const emulator = await startDynamoDb();
  vi.stubEnv("AWS_ENDPOINT_URL_DYNAMODB", emulator.endpoint);
  const { table, region } = emulator;
  const state = DynamoDbState.open({ ...emulator, callTimeoutMs: 15_000 });
  onTestFinished(async () => {
    await state.close();
    await emulator.stop();
    vi.unstubAllEnvs();
  });
  const file = configFile(
    `queue: https://sqs.${region}.amazonaws.com/111122223333/shop`,
    `state: dynamodb:${region}/${table}`,
    "targets: { a: { url: https://a.example, rate: 1/s } }",
    "aws: { keepData: false }",
  );
  return { file, ledger: state.ledger };
}

function local(): string {
  return configFile("queue: embedded:./data", "targets: { a: { url: http://127.0.0.1:1, rate: 1/s } }");
}
