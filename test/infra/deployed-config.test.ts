import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toDeployedFiles } from "../../infra/deployed-config.ts";
import type { Environment } from "../../relay/config/config.ts";
import { loadConfig } from "../../relay/config/load.ts";
import { configFileName } from "../../relay/deployed/functions.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { configFile } from "../support/lambda/lambda-config.ts";
import { caFile } from "../support/servers/shadow-server.ts";

const aws = ["queue: https://sqs.eu-central-1.amazonaws.com/111122223333/shop", "state: dynamodb:shop"];

/** Writes the files that functions receive for a configuration, and loads them again as a function does. */
function deploy(lines: readonly string[], env: Environment = {}, replayed?: string) {
  const file = configFile(...aws, ...lines);
  const files = toDeployedFiles(loadConfig(file, env), env, replayed);
  const directory = temporaryDirectory();
  for (const [name, content] of files) writeFileSync(join(directory, name), content);
  return { files, config: loadConfig(join(directory, configFileName), {}), given: loadConfig(file, env) };
}

describe("the configuration that is deployed with a function", () => {
  it("has the same targets and captures", () => {
    const { config, given } = deploy([
      "targets:",
      '  a: { url: https://a, rate: 30/min, when: { path: "^/a#b$" }, headers: { set: { x-n: "7" } } }',
      "captures:",
      "  all: { store: s3://kept, keep: 3d }",
    ]);

    expect(config).toMatchObject({ targets: given.targets, captures: given.captures, aws: given.aws });
  });

  it("has no sections of agents and hosts, and none of their secrets", () => {
    const { files } = deploy(
      [
        "# the old token was 0000000000000000",
        "agent: { tls: { cert: c.pem, key: k.pem } }",
        "host: { token: 0123456789abcdef }",
        "loopKey: [{ env: KEY }, 0123456789abcdef]",
        "control: https://abc.lambda-url.eu-central-1.on.aws",
        "targets: { a: { url: https://a, rate: 1/s, headers: { set: { x-key: { env: KEY } } } } }",
        "aws: { secrets: { KEY: shop } }",
      ],
      { KEY: "secret" },
    );

    expect(files.get(configFileName)).toBe(
      [
        ...aws,
        "targets:",
        "  a:",
        "    url: https://a",
        "    rate: 1/s",
        "    headers:",
        "      set:",
        "        x-key:",
        "          env: KEY",
        "",
      ].join("\n"),
    );
  });

  it("has the values of environment variables that the function does not have", () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the configuration's own placeholders.
    const { config } = deploy(["targets: { a: { url: 'https://${HOST}', rate: '${RATE:-2/s}' } }"], {
      HOST: "a.example",
    });

    expect(config.targets[0]).toMatchObject({ url: new URL("https://a.example"), ratePerSecond: 2 });
  });

  it("has only the replayed target, which keeps its queue", () => {
    const { files, config, given } = deploy(
      [
        "targets:",
        `  a: { url: https://a, rate: 1/s, tls: { ca: "${caFile}" } }`,
        "  b: { url: https://b, rate: 1/s, region: us-east-1 }",
        "captures: { all: { store: s3://kept } }",
      ],
      {},
      "b",
    );

    expect([...files.keys()]).toEqual([configFileName]);
    expect(config.targets).toEqual(given.targets.filter(({ name }) => name === "b"));
    expect(config.captures).toEqual([]);
    expect(config.aws?.targetQueues).toEqual(
      new Map([["b", "https://sqs.us-east-1.amazonaws.com/111122223333/shop-b"]]),
    );
  });

  it("lets the replay of a target that receives everything read the ingress queue", () => {
    const { config, given } = deploy(["targets: { a: { url: https://a, rate: 1/s } }"], {}, "a");

    expect(config.aws).toEqual(given.aws);
  });

  it("includes the certificate authorities of its targets", () => {
    const { files } = deploy([`targets: { a: { url: https://a, rate: 1/s, tls: { ca: "${caFile}" } } }`]);

    expect([...files.keys()]).toEqual(["a-ca.pem", configFileName]);
    expect(files.get("a-ca.pem")).toContain("BEGIN CERTIFICATE");
    expect(files.get(configFileName)).toContain("ca: a-ca.pem");
  });
});
