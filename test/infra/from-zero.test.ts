import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { agentPolicyName } from "../../infra/permissions.ts";
import { HaproxyProcess } from "../../relay/demo/haproxy-process.ts";
import { DeployedCloud } from "../support/aws/deployed-cloud.ts";
import { until } from "../support/clocks/until.ts";
import { blocksOf, readDocument, root, sectionOf } from "../support/data/documents.ts";
import { bundleFunctions } from "../support/lambda/lambda-rig.ts";
import { run } from "../support/processes/command-line.ts";
import { haproxyProgram, toPatient } from "../support/processes/rig.ts";
import { freePorts } from "../support/servers/free-ports.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

// Follows "From zero to a shadow in another region" in infra/README.md: runs each block with emulators instead of AWS, a
// directory instead of HAProxy's machine, and free ports.

const directory = mkdtempSync(join(tmpdir(), "spoa-relay-from-zero-"));
const machine = join(directory, "machine");
const bundles = join(directory, "functions");
const blocks = blocksOf(sectionOf(readDocument("infra/README.md"), "From zero to a shadow in another region"));
const [yaml, make, hand, install, haproxy, look] = blocks.map(({ text }) => text);
const requests = 400;

beforeAll(async () => {
  const bundle = [
    "npm",
    "run",
    "--silent",
    "bundle",
    "--",
    "agent/main.ts",
    `--outfile=${join(directory, "agent.js")}`,
  ];
  const built = await run("sh", "-c", 'cd "$0" && exec "$@"', root, ...bundle);
  expect(built.code, built.stderr).toBe(0);
  await bundleFunctions(bundles);
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("infra/README.md, from zero to a shadow in another region", () => {
  it("has exactly the blocks that this test runs", () => {
    expect(blocks.map(({ language }) => language)).toEqual(["yaml", "sh", "sh", "sh", "haproxy", "sh"]);
  });

  it("mirrors requests through HAProxy to the shadow, and shows their fates", async () => {
    const shadow = await ShadowServer.start();
    const [spop, admin] = await freePorts(2);
    const config = join(directory, "spoa-relay.yaml");
    writeFileSync(config, yaml);

    // 2. The dry run. cdk itself is left out, since it calls AWS.
    const [dryRun, bootstrap] = linesWith(make, "--dry-run", "bootstrap");
    const plan = await run(process.execPath, join(root, "infra/deploy.ts"), ...argumentsOf(dryRun), "--config", config);
    expect(plan.stderr).toBe("");
    expect(plan.stdout).toContain("A month at 200/s around the clock");

    writeFileSync(
      config,
      yaml
        .replace("/var/lib/spoa-relay", directory)
        .replace("https://shadow.example", shadow.url.origin)
        .replace("agent:\n", `agent:\n  listen: 127.0.0.1:${spop}\n  admin: 127.0.0.1:${admin}\n`)
        .concat("control: https://abcdefghij0123456789.lambda-url.eu-central-1.on.aws/\n"),
    );
    const cloud = await DeployedCloud.start(config, bundles);
    const { stacks } = cloud.layout;
    const environments = stacks.map(({ account, region }) => `aws://${account}/${region}`);
    expect(bootstrap.split(" ").slice(3)).toEqual(environments);
    cloud.map();

    // 3. The policy, and the files to copy: each exists.
    const [attach, copy] = linesWith(hand, "attach-role-policy", "scp");
    const [{ account, queues }] = stacks;
    expect(attach).toContain(`arn:aws:iam::${account}:policy/${agentPolicyName(queues[0])}`);
    mkdirSync(machine);
    for (const file of copy.split(" ").slice(1, -1)) {
      const made = ["dist/agent.js", "spoa-relay.yaml"].includes(file);
      copyFileSync(made ? join(directory, basename(file)) : join(root, file), join(machine, basename(file)));
    }

    // 4. The agent, as its unit starts it.
    for (const line of linesWith(install, "install -D")) {
      const [file, to] = line.split(" ").slice(-2);
      await run("install", "-D", "-m", "644", join(machine, file), join(machine, to));
    }
    const unit = readFileSync(join(machine, "etc/systemd/system/spoa-relay-agent.service"), "utf8");
    const [, flag, program, , file] = /^ExecStart=(.*)$/m.exec(unit)?.[1].split(" ") ?? [];
    expect(existsSync(join(machine, file))).toBe(true);
    await cloud.startAgent(flag, join(machine, program));
    const [ready] = linesWith(install, "curl");
    const asked = await run("curl", ...argumentsOf(ready).map((text) => text.replace("12346", String(admin))));
    expect(asked).toMatchObject({ code: 0, stdout: expect.stringContaining("ready") });

    // 5. HAProxy.
    const frontend = await startHaproxy(spop);
    for (let i = 0; i < requests; i++) await fetch(`${frontend}/api/v1/${i}`);

    // 6. The ledger.
    const [stats] = linesWith(look, " stats");
    await until(async () => {
      const { code, stdout } = await cloud.command(...argumentsOf(stats));
      return code === 0 && stdout.includes(`seen ${requests}`) && shadow.received.length > 0;
    });
    for (const line of linesWith(look, "targets set", "dlq list")) {
      expect(await cloud.command(...argumentsOf(line))).toMatchObject({ code: 0, stderr: "" });
    }
    // A tenth of 400: one standard deviation is six.
    expect(shadow.received.length).toBeLessThan(80);
    expect(cloud.gateway.refusals).toEqual([]);
  });
});

/** The first line that has each of these texts. */
function linesWith(block: string, ...texts: readonly string[]): readonly string[] {
  const lines = block.trim().split("\n");
  if (texts.length === 1) return lines.filter((line) => line.includes(texts[0]));
  return texts.map((text) => lines.find((line) => line.includes(text)) ?? `nothing has ${text}`);
}

/** The arguments A and B of `npm run deploy -- A B`, `node FILE A B` or `curl A B`. */
function argumentsOf(line: string): readonly string[] {
  return line.replace(/^(?:npm run \S+ --|node \S+|curl) /, "").split(" ");
}

/** Starts an HAProxy with a front end `web` and the lines of the block; returns the origin for clients. */
async function startHaproxy(spopPort: number): Promise<string> {
  const primary = createServer((_, response) => response.end("primary"));
  await once(primary.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void primary.close());
  const [port] = await freePorts(1);
  const [frontendLines, backend] = haproxy.split(/^(?=backend )/m);
  const configFile = join(machine, "haproxy.cfg");
  const spoe = join(machine, "etc/haproxy/spoe.cfg");
  writeFileSync(spoe, toPatient(readFileSync(spoe, "utf8")));
  writeFileSync(
    configFile,
    `defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s

${frontendLines.trimEnd().replace("/etc/haproxy/spoe.cfg", spoe)}
    bind 127.0.0.1:${port}
    default_backend primary

backend primary
    server primary 127.0.0.1:${(primary.address() as AddressInfo).port}

${toPatient(backend).replace("12345", String(spopPort))}`,
  );
  const check = await run(haproxyProgram(), "-c", "-f", configFile);
  expect(`${check.stdout}${check.stderr}`).not.toMatch(/WARNING|ALERT/);
  const variables = { RELAY_PROCESSING_TIMEOUT: "5s" };
  const proxy = new HaproxyProcess({ program: haproxyProgram(), configFile, variables, onOutput: () => {} });
  onTestFinished(() => proxy.stop());
  const origin = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(`${origin}/`).catch(() => undefined))?.ok === true);
  return origin;
}
