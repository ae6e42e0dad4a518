import { globSync, statSync } from "node:fs";
import { join, normalize } from "node:path";

/** Files to mutate, and the tests that should notice. */
export interface Room {
  readonly path: string;
  readonly files: readonly string[];
  readonly tests: readonly string[];
}

/** What is mutated if no path is given: bytes, queues, rates and the ledger. */
export const defaultRooms: readonly string[] = [
  "agent/spop",
  "agent/intake",
  "agent/listener",
  "agent/shipper",
  "agent",
  "relay/pack",
  "relay/queue",
  "relay/redaction",
  "relay/replay",
  "relay/state",
];

// A room's tests are in the same folder below test/. These rooms are tested in others, too.
const foreignTests: Readonly<Record<string, readonly string[]>> = {
  agent: ["test/agent/listener/listener.test.ts"],
  "relay/redaction": ["test/agent/intake/redactor.test.ts"],
  "relay/replay": ["test/functions/replay.test.ts"],
};

// Rooms with rooms of their own in the list: only their own files count.
const shallow: ReadonlySet<string> = new Set(["agent"]);

/** Throws a `TypeError` if there is nothing to mutate, or no test. `root` is the root of the repository. */
export function toRoom(path: string, root: string): Room {
  const folder = normalize(path).replace(/\/+$/, "");
  if (!/^(agent|relay|functions)(\/|$)/.test(folder)) throw new TypeError(`only agent, relay and functions: ${path}`);
  const isFile = statSync(join(root, folder), { throwIfNoEntry: false })?.isFile() ?? false;
  const room = isFile ? folder.slice(0, folder.lastIndexOf("/")) : folder;
  const below = shallow.has(room) ? "*" : "**/*";
  const files = isFile ? [folder] : globSync(`${folder}/${below}.ts`, { cwd: root }).sort();
  if (files.length === 0) throw new TypeError(`there is no TypeScript file in ${path}`);
  const tests = [`test/${room}/${below}.test.ts`, ...(foreignTests[room] ?? [])];
  if (globSync(tests, { cwd: root }).length === 0) throw new TypeError(`there are no tests in test/${room}`);
  return { path: folder, files, tests };
}

/** With --others, a room's survivors meet all of these; vitest.config.ts excludes the slow ones. */
export const otherTests: readonly string[] = ["agent", "relay", "functions"].map((room) => `test/${room}/**/*.test.ts`);
