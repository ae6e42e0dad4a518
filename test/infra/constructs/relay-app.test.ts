import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Stack } from "aws-cdk-lib";
import { Bucket } from "aws-cdk-lib/aws-s3";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { createApp } from "../../../infra/constructs/relay-app.ts";
import { functionNames, handlerFile } from "../../../relay/deployed/functions.ts";
import { CloudTemplate } from "../../support/aws/cloud-template.ts";
import { synthesise } from "../../support/aws/synthesis.ts";
import { exampleFile, exampleLayout, exampleNames } from "../../support/data/layouts.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";
import { configFile } from "../../support/lambda/lambda-config.ts";
import { LambdaProcess } from "../../support/lambda/lambda-process.ts";
import { bundleFunctions } from "../../support/lambda/lambda-rig.ts";
import { run } from "../../support/processes/command-line.ts";

const root = join(import.meta.dirname, "../../..");
const bundles = mkdtempSync(join(tmpdir(), "spoa-relay-bundles-"));

beforeAll(() => bundleFunctions(bundles));

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

describe("an app", () => {
  it("fails to synthesise if it breaks a rule of AwsSolutions", () => {
    const app = createApp(temporaryDirectory());
    new Bucket(new Stack(app, "Other"), "Public");

    expect(() => app.synth()).toThrow(/AwsSolutions-S10/);
  });

  it("throws if a function has no bundle", () => {
    expect(() => synthesise(exampleFile("one-region"), {}, temporaryDirectory())).toThrow(
      /replay\.mjs does not exist; run npm run build/,
    );
  });

  it("deploys the stacks of other regions and accounts before the fan-out that sends to them", () => {
    const { directory } = synthesise(exampleFile("two-regions"));
    const { artifacts } = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8"));

    expect(artifacts.shop.dependencies).toContain("shop-us-east-1");
    expect(artifacts["shop-us-east-1"].dependencies).not.toContain("shop");
  });

  it("prints what is wrong with a configuration, and exits with 2", async () => {
    const file = configFile("queue: embedded:.", "targets: { a: { url: http://a, rate: 1/s } }");
    const { code, stderr } = await run(
      "env",
      `SPOA_RELAY_CONFIG=${file}`,
      process.execPath,
      join(root, "infra/app.ts"),
    );

    expect(stderr).toMatch(/^\S+spoa-relay\.yaml: a deployment to AWS needs queue: .*\n$/);
    expect(code).toBe(2);
  });
});

describe("the functions of a deployment", () => {
  it.each(functionNames)("%s has a handler file", (name) => {
    expect(existsSync(join(root, handlerFile(name)))).toBe(true);
  });

  it.each(exampleNames)("start with their deployed code and environment: %s", async (name) => {
    const { directory } = synthesise(exampleFile(name), {}, bundles);
    const secretsManager = await startSecretsManager();
    for (const stack of exampleLayout(name).stacks) {
      const template = new CloudTemplate(directory, stack);
      for (const one of template.ofType("AWS::Lambda::Function")) {
        const code = template.codeOf(one);
        const { Handler: handler, Environment: environment } = one.properties;
        const bundle = `${handler.split(".")[0]}.mjs`;

        expect(readdirSync(code).sort()).toEqual([bundle, "spoa-relay.yaml"].sort());
        // Throws if the handler does not become ready.
        const lambda = await LambdaProcess.start(join(code, bundle), {
          LAMBDA_TASK_ROOT: code,
          AWS_REGION: stack.region,
          AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
          AWS_SECRET_ACCESS_KEY: "secret-key",
          AWS_ENDPOINT_URL_SECRETS_MANAGER: secretsManager,
          ...environment?.Variables,
        });
        onTestFinished(() => lambda.kill());
      }
    }
  });
});

/** Answers each GetSecretValue with a secret that has the field `key`. */
async function startSecretsManager(): Promise<string> {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ SecretString: JSON.stringify({ key: "staging-key" }) }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
