import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { ConfigError } from "../config/text.ts";
import { parseDurationMs } from "../config/units.ts";
import type { Logger } from "../log/log.ts";
import { createDirectory } from "../process/directory.ts";
import { readHostStats } from "../stats/host-stats.ts";
import { openStores } from "../stores.ts";

/** The flags of spoa-mirror that a configuration has to agree with. */
export interface MirrorFlags {
  /** URL of the shadow. Its path, if it has one, is put before the path of every request. */
  readonly url: URL;
  readonly address: string;
  /** Port of the agent; the next two ports are the admin ports of agent and host. */
  readonly port: number;
}

const defaultDirectory = "./spoa-relay-data";
// Earlier versions had one directory for all ports.
const olderFile = join(defaultDirectory, "spoa-relay.yaml");

/** The directory for a port, so that each `mirror` has its own. */
export function directoryOf(port: number): string {
  return isOlderPort(port) ? defaultDirectory : join(defaultDirectory, String(port));
}

/** Whether an earlier version ran with this port. */
function isOlderPort(port: number): boolean {
  if (!existsSync(olderFile)) return false;
  try {
    const { listen } = loadConfig(olderFile, process.env).agent;
    return listen.kind === "tcp" && listen.port === port;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** Writes the configuration that is equivalent to the flags, unless there is one; returns its path. */
export function writeMirrorConfig({ url, address, port }: MirrorFlags, directory: string): string {
  createDirectory(resolve(directory));
  const file = join(directory, "spoa-relay.yaml");
  const listen = address.includes(":") ? `[${address}]` : address;
  const prefix = url.pathname === "/" ? "" : `\n    path: { prefix: ${JSON.stringify(url.pathname)} }`;
  const text = `# Written by spoa-relay mirror, which never changes it: add what you like.
agent:
  listen: "${listen}:${port}"
  admin: 127.0.0.1:${port + 1}
host:
  admin: 127.0.0.1:${port + 2}
queue: embedded:./data
targets:
  mirror:
    url: ${url.origin}
    rate: unlimited${prefix}
`;
  try {
    writeFileSync(file, text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return file;
    // If the disk is full, a part of the file exists, and later runs would not overwrite it.
    rmSync(file, { force: true });
    throw error;
  }
  return file;
}

/** Throws `ConfigError` with every difference between a configuration and the flags. Further settings and targets do not count. */
export function assertAgrees({ agent, targets, file }: Config, { url, address, port }: MirrorFlags): void {
  const differences: string[] = [];
  const { listen } = agent;
  const listens = listen.kind === "tcp" ? `${listen.host}:${listen.port}` : `unix:${listen.path}`;
  if (listens !== `${address}:${port}`) {
    differences.push(`agent.listen is ${listens}, and the flags --address and --port say ${address}:${port}`);
  }
  const wanted = `${url.origin}${url.pathname}`;
  const found = targets.map(({ url: { origin }, path }) => `${origin}${path && "prefix" in path ? path.prefix : "/"}`);
  if (!found.includes(wanted)) {
    const named = targets.map(({ name }, i) => `targets.${name} has the URL ${found[i]}`).join(", ");
    differences.push(`${named}, and the flag --mirror-url says ${wanted}`);
  }
  if (differences.length === 0) return;
  throw new ConfigError([
    `${file} exists, and mirror does not overwrite it. It differs from the flags:`,
    ...differences.map((difference) => `  ${difference}`),
    `To go on with the file, also with requests that wait: spoa-relay up --config ${file}`,
    "To go on with the flags: change the file, or name another directory with --data",
  ]);
}

/** Logs requests that wait in the directory of an earlier version, unless `file`, which is about to run, is in it. */
export async function reportOlder(file: string, log: Logger): Promise<void> {
  if (resolve(file) === resolve(olderFile)) return;
  if (!existsSync(olderFile)) return;
  try {
    const older = loadConfig(olderFile, process.env);
    if (!existsSync(older.queueDirectory)) return;
    const requests = await countLeft(older);
    if (requests === 0) return;
    log.warn(
      { event: "left-behind", directory: older.queueDirectory, requests },
      `requests of an earlier version of mirror wait in this directory; to send them: spoa-relay up --config ${resolve(older.file)}`,
    );
  } catch (error) {
    log.warn(
      { event: "left-behind", directory: resolve(defaultDirectory), reason: (error as Error).message },
      "requests of an earlier version of mirror may wait in this directory: it cannot be read",
    );
  }
}

/** How many requests wait or are dead letters. */
async function countLeft(config: Config): Promise<number> {
  const stores = await openStores(config);
  try {
    const { ingress, targets } = await readHostStats(stores, config.targets);
    const counts = [
      ingress.waiting,
      ...Object.values(targets).flatMap((target) => [target.inQueue, target.inDeadLetters]),
    ];
    return counts.reduce<number>((sum, count = 0) => sum + count, 0);
  } finally {
    await stores.close();
  }
}

/** Parses spoa-mirror's `--runtime`: milliseconds, or a number with a unit; 0 means no end. Undefined for anything else. */
export function parseRuntimeMs(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : parseDurationMs(text);
}
