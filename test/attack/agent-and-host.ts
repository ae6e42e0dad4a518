import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AttackedProcess, Ground } from "./ground.ts";

interface Limits {
  readonly env?: NodeJS.ProcessEnv;
  /** The process's limit of open files; by default that of this one. */
  readonly maxFiles?: number;
}

export interface StartedAgent {
  readonly agent: AttackedProcess;
  /** Of SPOP. */
  readonly port: number;
  readonly admin: number;
}

export interface StartedPair extends StartedAgent {
  readonly host: AttackedProcess;
  readonly hostAdmin: number;
  readonly configFile: string;
}

/** Starts an agent without a host. Resolves when it listens. */
export async function startAgent(ground: Ground, { env, maxFiles }: Limits = {}): Promise<StartedAgent> {
  const [port, admin] = await ground.ports(2);
  const configFile = writeConfig(
    ground,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}" }
queue: embedded:./data
targets: { t: { url: "http://127.0.0.1:9", rate: 1/s } }
`,
  );
  const command = ["agent", "--config", configFile];
  const limited = `ulimit -n ${maxFiles}; exec "$@"`;
  const program = [process.execPath, join(ground.tree, "relay/main.ts"), ...command];
  const agent =
    maxFiles === undefined
      ? ground.start(command, env)
      : ground.own("bash", ["-c", limited, "bash", ...program], { cwd: ground.directory });
  await agent.printed('"event":"listening"');
  return { agent, port, admin };
}

/**
 * Starts an agent and a host that share a queue in `data`, below the directory of the attack. Resolves when both work.
 *
 * @param target the keys of the target `t`, in YAML flow style
 */
export async function startAgentAndHost(ground: Ground, target: string): Promise<StartedPair> {
  const [port, admin, hostAdmin] = await ground.ports(3);
  const configFile = writeConfig(
    ground,
    `agent: { listen: "127.0.0.1:${port}", admin: "127.0.0.1:${admin}" }
host: { admin: "127.0.0.1:${hostAdmin}" }
queue: embedded:./data
targets: { t: { ${target} } }
`,
  );
  const agent = ground.start(["agent", "--config", configFile]);
  const host = ground.start(["host", "--config", configFile]);
  await Promise.all([agent.printed('"event":"listening"'), host.printed('"event":"replaying"')]);
  return { agent, port, admin, host, hostAdmin, configFile };
}

function writeConfig(ground: Ground, text: string): string {
  const configFile = join(ground.directory, "spoa-relay.yaml");
  writeFileSync(configFile, text);
  return configFile;
}
