import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseDurationMs } from "../config/units.ts";

export interface MirrorOptions {
  /** URL of the shadow. Its path, if it has one, is put before the path of every request. */
  readonly url: URL;
  readonly address: string;
  /** Port of the agent; the next two ports are the admin ports of agent and host. */
  readonly port: number;
  readonly directory: string;
}

/** Writes the configuration that is equivalent to spoa-mirror's flags; returns its path. */
export function writeMirrorConfig({ url, address, port, directory }: MirrorOptions): string {
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "spoa-relay.yaml");
  const listen = address.includes(":") ? `[${address}]` : address;
  const prefix = url.pathname === "/" ? "" : `\n    path: { prefix: ${JSON.stringify(url.pathname)} }`;
  const text = `# Written by spoa-relay mirror.
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
  writeFileSync(file, text);
  return file;
}

/** Parses spoa-mirror's `--runtime`: milliseconds, or a number with a unit; 0 means no end. Undefined for anything else. */
export function parseRuntimeMs(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : parseDurationMs(text);
}
