import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { CertificateError, findAuthorityMistake, readCertificates } from "./certificates.ts";
import type { Config } from "./config.ts";
import { type Conflict, findClearControl } from "./conflicts.ts";
import { ConfigError, findLine, findText } from "./text.ts";

/**
 * Throws `ConfigError` if the certificate authority of a target cannot be used, or if an environment variable that its
 * requests need is missing. Only processes that replay call this: an agent on another machine may share the file without
 * having either.
 *
 * @param only the one target that the process replays for; undefined for all targets
 */
export function assertReplayable(config: Config, only?: string): void {
  assertNone(config, findReplayMistakes(config, only));
}

/**
 * Like `assertReplayable`, and checks what else the machine must have to run both agent and host: the files of `agent.tls` and
 * the programs of `token.command`. Refuses a `control` that commands refuse to call. `path` is the search path for programs.
 */
export function assertRunnable(config: Config, path: string, nowMs: number): void {
  assertNone(config, [
    ...findClearControl(config),
    ...findReplayMistakes(config),
    ...findRedactMistakes(config),
    ...findListenerMistakes(config, nowMs),
    ...findProgramMistakes(config, path),
  ]);
}

/** Throws `ConfigError` if `loopKey` names an environment variable that is missing or too short: agents need it as well. */
export function assertLoopKey(config: Config): void {
  assertNone(
    config,
    config.missing.filter(({ path: [section] }) => section === "loopKey"),
  );
}

/**
 * Throws `ConfigError` if the key of `agent.redact` is missing or too short to be one. Only the agent calls this: a host on another
 * machine may share the file without having the key.
 */
export function assertRedactable(config: Config): void {
  assertNone(config, findRedactMistakes(config));
}

function findRedactMistakes({ agent }: Config): readonly Conflict[] {
  const { key } = agent.redact;
  if (!key || (key.value ?? "").length >= leastKeyChars) return [];
  const mistake = key.value === undefined ? "is not set" : `has fewer than ${leastKeyChars} characters`;
  return [{ path: ["agent", "redact", "key"], mistake: `the environment variable ${key.env} ${mistake}` }];
}

const leastKeyChars = 16;

function assertNone({ file }: Config, mistakes: readonly Conflict[]): void {
  if (mistakes.length === 0) return;
  const text = readFileSync(file, "utf8");
  throw new ConfigError(
    mistakes.map(({ path, mistake }) => `${file}:${findLine(text, path)}: ${path.join(".")}: ${mistake}`),
  );
}

function findReplayMistakes({ file, targets, missing }: Config, only?: string): readonly Conflict[] {
  const authorities = targets.flatMap(({ name, tls: { ca } }): readonly Conflict[] => {
    const path = ["targets", name, "tls", "ca"];
    const mistake = ca === undefined ? undefined : findAuthorityMistake(ca, asWritten(file, path, ca));
    return mistake === undefined ? [] : [{ path, mistake }];
  });
  return [...missing, ...authorities].filter(
    ({ path: [section, name] }) => only === undefined || section === "loopKey" || name === only,
  );
}

function findListenerMistakes({ file, agent: { tls } }: Config, nowMs: number): readonly Conflict[] {
  if (!tls) return [];
  try {
    readCertificates(tls, nowMs, (key) => asWritten(file, ["agent", "tls", key], `${tls[key]}`));
    return [];
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    return [{ path: ["agent", "tls", error.key], mistake: error.mistake }];
  }
}

function findProgramMistakes({ targets }: Config, searchPath: string): readonly Conflict[] {
  return targets.flatMap(({ name, token }): readonly Conflict[] => {
    if (token?.source.kind !== "command") return [];
    const [program] = token.source.command;
    const places = program.includes("/") ? [program] : searchPath.split(delimiter).map((place) => join(place, program));
    const path = ["targets", name, "token", "command"];
    if (places.some(isProgram)) return [];
    const where = program.includes("/") ? "is not a program that this user can run" : "is in no directory of PATH";
    return [{ path, mistake: `${program} ${where}` }];
  });
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The path of a file as it is in the configuration; the full path if variables are a part of it. */
function asWritten(file: string, path: readonly string[], fullPath: string): string {
  const written = findText(readFileSync(file, "utf8"), path);
  return written === undefined || written.includes("${") ? fullPath : written;
}
