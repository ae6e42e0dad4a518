import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const rooms = [".ci", "agent", "functions", "infra", "relay", "test"];
const maxFilesPerFolder = 25;
const maxFilesInRelay = 6;
const maxLines = 300;

describe("the tree", () => {
  it("has no circle of imports, including type imports", () => {
    const imports = new Map(sourceFiles().map((file) => [file, importsOf(file, read(file))]));

    // An import that importsOf misread, or did not read, could hide a circle.
    expect([...imports.values()].flat().filter((file) => !imports.has(file))).toEqual([]);
    const unread = [...imports].filter(([file, found]) => found.length < countPaths(read(file)));
    expect(unread.map(([file]) => file)).toEqual([]);
    expect(imports.get("relay/main.ts")).toContain("relay/commands/services.ts");
    expect(findCircles(imports)).toEqual([]);
  });

  it(`has at most ${maxFilesPerFolder} files in a folder`, () => {
    const counts = Map.groupBy([...filesIn("."), ...rooms.flatMap(filesBelow)], dirname);

    expect(tooLarge(counts, ([, files]) => files.length, maxFilesPerFolder)).toEqual([]);
  });

  it(`has at most ${maxFilesInRelay} files in the root of relay`, () => {
    expect(filesIn("relay").length).toBeLessThanOrEqual(maxFilesInRelay);
  });

  it(`has no file of more than ${maxLines} lines outside of test`, () => {
    const texts = new Map(sourceFiles().map((file) => [file, read(file)]));

    expect(tooLarge(texts, ([, text]) => text.split("\n").length - 1, maxLines)).toEqual([]);
  });
});

// A jump of the wall clock must not remove anything, nor hold it back for longer than seconds.
const readsTheWallClock: Readonly<Record<string, string>> = {
  "agent/agent.ts":
    "when requests were captured, and the start, for people; the linger allows for a clock that is set back",
  "agent/listener/listener.ts": "the validity of certificates",
  "functions/capture/upkeep.ts": "the names of objects; a SettledClock decides what has expired",
  "functions/control/figures.ts": "which minutes are asked for",
  "functions/lambda/replay.ts": "in Lambda: an environment may be frozen",
  "functions/metric-line.ts": "the time of figures",
  "functions/replay-warnings.ts": "by how much the clocks of an agent and this machine differ",
  "functions/schedule/feeder.ts": "the times of jobs; leases have a bound",
  "functions/schedule/schedule.ts": "the hours of targets",
  "functions/wiring.ts": "the hours of targets; breakers and slowdowns have bounds",
  "relay/archive/directory.ts": "the age of unfinished files, which are written again",
  "relay/clock.ts": "slots, which all workers share: a clock that is set back loses rounds, not requests",
  "relay/commands/capture-flags.ts": "what people write: 2h ago",
  "relay/commands/config.ts": "the validity of certificates",
  "relay/commands/import.ts": "how long a capture keeps what is imported",
  "relay/commands/job-follower.ts": "the times of jobs",
  "relay/commands/job-hold.ts": "the hours of targets",
  "relay/commands/jobs.ts": "the times of jobs",
  "relay/commands/replay.ts": "the times of jobs",
  "relay/credentials/aws-source.ts": "the expiry of AWS credentials, which is a date",
  "relay/exchange/k6-writer.ts": "in the script that it writes",
  "relay/process/machine-clock.ts": "the wall clock itself",
  "relay/queue/damaged-file.ts": "for people: names of damaged files, and how many have a name of the last hour",
  "relay/queue/overdue.ts": "no queue tells the time",
  "relay/replay/exchange.ts": "a Retry-After that is a date; 15 minutes at most",
  "relay/replay/figure-book.ts": "the time of figures",
  "relay/replay/live-target.ts": "the hours of targets; breakers and slowdowns have bounds",
  "relay/replay/pack-replay.ts":
    "maxAge, from the time of capture on, if the agent does not tell how long it held a request",
  "relay/stats/host-stats.ts": "the hours of targets",
};

describe("the wall clock", () => {
  it("is read only where a moment is meant: durations are measured by clocks that nobody sets", () => {
    const found = sourceFiles().filter((file) => /\bDate\.now\b/.test(read(file)));

    expect(found.sort()).toEqual(Object.keys(readsTheWallClock).sort());
  });
});

describe("findCircles", () => {
  it("names the files of a circle in the order of their imports", () => {
    const imports = new Map([
      ["main.ts", ["a.ts"]],
      ["a.ts", ["leaf.ts", "b.ts"]],
      ["b.ts", ["c.ts"]],
      ["c.ts", ["leaf.ts", "a.ts"]],
      ["leaf.ts", []],
    ]);

    expect(findCircles(imports)).toEqual(["a.ts → b.ts → c.ts → a.ts"]);
  });
});

describe("importsOf", () => {
  it.each([
    'import { a } from "../pack/a.ts";',
    'import type { A } from "../pack/a.ts";',
    'import {\n  a,\n  b,\n} from "../pack/a.ts";',
    'import "../pack/a.ts";',
    'export { a } from "../pack/a.ts";',
    'const { a } = await import("../pack/a.ts");',
  ])("reads %j", (text) => {
    expect(importsOf("relay/replay/b.ts", text)).toEqual(["relay/pack/a.ts"]);
  });
});

/** Paths from the root of the repository, like all paths here. */
function sourceFiles(): string[] {
  return rooms.filter((room) => room !== "test").flatMap((room) => filesBelow(room).filter(isTypeScript));
}

function isTypeScript(file: string): boolean {
  return file.endsWith(".ts");
}

function filesBelow(folder: string): string[] {
  const folders = readdirSync(join(root, folder), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...filesIn(folder), ...folders.flatMap(({ name }) => filesBelow(join(folder, name)))];
}

function filesIn(folder: string): string[] {
  const files = readdirSync(join(root, folder), { withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ name }) => join(folder, name));
}

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

function importsOf(file: string, text: string): string[] {
  const paths = text.matchAll(/\b(?:from|import)\s*\(?\s*"(\.\.?\/[^"]+\.ts)"/g);
  return Array.from(paths, ([, path]) => join(dirname(file), path));
}

/** Relative paths of TypeScript files in quotes, whatever is before them. */
function countPaths(text: string): number {
  return [...text.matchAll(/^[^/*\n]*["'`]\.\.?\/[^"'`\n]+\.ts["'`]/gm)].length;
}

/** One circle for each import that leads back to a file on its own path. */
function findCircles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const circles: string[] = [];
  const seen = new Set<string>();
  const visit = (file: string, way: readonly string[]) => {
    const start = way.indexOf(file);
    if (start >= 0) circles.push([...way.slice(start), file].join(" → "));
    if (seen.has(file)) return;
    seen.add(file);
    for (const imported of imports.get(file) ?? []) visit(imported, [...way, file]);
  };
  for (const file of imports.keys()) visit(file, []);
  return circles;
}

/** The entries larger than `most`, with their sizes. */
function tooLarge<T>(all: ReadonlyMap<string, T>, sizeOf: (entry: [string, T]) => number, most: number): string[] {
  return [...all]
    .map((entry) => ({ name: entry[0], size: sizeOf(entry) }))
    .filter(({ size }) => size > most)
    .map(({ name, size }) => `${name}: ${size}`);
}
