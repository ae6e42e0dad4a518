import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addCaptures } from "../relay/commands/captures.ts";
import { addConfig } from "../relay/commands/config.ts";
import { addDeadLetters } from "../relay/commands/dead-letters.ts";
import { addDemo } from "../relay/commands/demo.ts";
import { addExport } from "../relay/commands/export.ts";
import { addImport } from "../relay/commands/import.ts";
import { addJobs } from "../relay/commands/jobs.ts";
import { addMirror } from "../relay/commands/mirror.ts";
import { addReplay } from "../relay/commands/replay.ts";
import { addServices } from "../relay/commands/services.ts";
import { addStats } from "../relay/commands/stats.ts";
import { addTargets } from "../relay/commands/targets.ts";
import {
  blocksOf,
  deadLinksOf,
  linksOf,
  readDocument,
  readDocuments,
  root,
  sectionOf,
} from "./support/data/documents.ts";

const documents = readDocuments();
const rooms = ["agent", "relay", "functions", "infra", "test"];

describe("the documents", () => {
  it.each(documents)("$file has no dead link", (document) => {
    expect(deadLinksOf(root, document)).toEqual([]);
  });

  it("are all linked from README.md", () => {
    const linked = linksOf(readDocument("README.md").text).map((link) => link.split("#")[0]);
    const files = documents.map(({ file }) => file).filter((file) => file !== "README.md");

    expect(files.filter((file) => !linked.includes(file))).toEqual([]);
  });

  it.each(documents)(
    "$file closes every block that it opens, and uses only languages that a test checks",
    ({ text }) => {
      const blocks = blocksOf(text);

      expect(text.match(/^ *```/gm) ?? []).toHaveLength(2 * blocks.length);
      const known = ["", "diff", "haproxy", "sh", "yaml"];
      expect(blocks.map(({ language }) => language).filter((language) => !known.includes(language))).toEqual([]);
    },
  );

  it.each(documents)("$file names npm scripts that exist", ({ text }) => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly scripts: object };
    const named = [...text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)].map(([, name]) => name);

    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  it("have the sections that messages and comments of the code name", () => {
    const texts = sourceFiles().map((file) => readFileSync(join(root, file), "utf8"));
    const quoted = texts.flatMap((text) => [...text.matchAll(/"([A-Z][\w ]+)" in ([\w/]+\.md)/g)]);
    const listed = texts.flatMap((text) => [...text.matchAll(/\(()([\w/]+\.md), ([A-Z]\w+)\)/g)]);
    const named = [...quoted, ...listed].map(([, first, file, title = first]) => ({ file, title }));
    const titlesOf = (file: string) =>
      [...readDocument(file).text.matchAll(/^#+ +(.+?) *$/gm)].map(([, title]) => title);

    expect(named.length).toBeGreaterThan(2);
    expect(named.filter(({ file, title }) => !titlesOf(file).includes(title))).toEqual([]);
  });

  it("name only commands that exist in code", () => {
    const names = createProgram().commands.map((command) => command.name());
    const use = /(?:`|npx |dist\/)spoa-relay(?:\.js)? ([a-z][\w-]*)/g;
    const named = documents.flatMap(({ text }) => [...text.matchAll(use)].map(([, name]) => name));

    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !names.includes(name))).toEqual([]);
  });

  it("have only lines of the example configuration in their blocks for HAProxy", () => {
    const example = readFileSync(join(root, "agent/haproxy/haproxy.cfg"), "utf8");
    const known = new Set(example.split("\n").map(toDirective));
    const blocks = documents.flatMap(({ text }) => blocksOf(text).filter(({ language }) => language === "haproxy"));
    const lines = blocks.flatMap(({ text }) => text.split("\n").map(toDirective));

    expect(lines.length).toBeGreaterThan(10);
    expect(lines.filter((line) => !known.has(line))).toEqual([]);
  });

  it("explain every line that the log has for an outage and its end, and no others", () => {
    const section = sectionOf(readDocument("agent/README.md"), "The log");
    const explained = [...section.matchAll(/`([a-z]+(?:-[a-z]+)+|accept|killed|forced|undelivered)`/g)].map(
      ([, name]) => name,
    );
    const text = sourceFiles()
      .map((file) => readFileSync(join(root, file), "utf8"))
      .join("\n");
    const ofOutages = [...text.matchAll(/\b(?:down|up): \[\s*"([a-z-]+)"/g)].map(([, event]) => event);
    const others = [...text.matchAll(/event: "([a-z-]+)"/g)].map(([, event]) => event);

    expect(ofOutages.length).toBeGreaterThan(20);
    expect(ofOutages.filter((event) => !explained.includes(event))).toEqual([]);
    expect(explained.filter((event) => ![...ofOutages, ...others].includes(event))).toEqual([]);
  });

  it("use only commands and flags that exist", () => {
    const program = createProgram();
    const names = program.commands.map((command) => command.name()).join("|");
    // A use of the command line ends at the end of the code, at a comment or at a pipe.
    const use = new RegExp(`\\bspoa-relay(?:\\.js)? ((?:${names})\\b[^\\n\`|]*?)(?=  |$|[\`|])`, "gm");
    const uses = documents.flatMap(({ file, text }) => [...text.matchAll(use)].map(([, line]) => ({ file, line })));

    expect(uses.length).toBeGreaterThan(60);
    for (const { file, line } of uses) {
      const [name, subcommand] = line.trim().split(" ");
      const group = program.commands.find((command) => command.name() === name);
      const found = group?.commands.find((command) => command.name() === subcommand);
      // `spoa-relay dlq` alone names the group.
      const command = found ?? (group?.commands.length === 0 || subcommand === undefined ? group : undefined);
      const flags = [...line.matchAll(/ (--[a-z-]+)/g)].map(([, flag]) => flag);

      expect({ file, line, exists: command !== undefined }).toEqual({ file, line, exists: true });
      expect(command?.options.map(({ long }) => long)).toEqual(expect.arrayContaining(flags));
    }
  });
});

describe("README.md", () => {
  it("has at most 250 lines", () => {
    expect(readDocument("README.md").text.trimEnd().split("\n").length).toBeLessThanOrEqual(250);
  });

  it("has a map with every room of the tree and no others", () => {
    const [{ text }] = blocksOf(sectionOf(readDocument("README.md"), "The map"));
    const mapped: string[] = [];
    for (const line of text.split("\n")) {
      const [, indent, names] = /^( *)((?:[\w-]+\/ *)*)/.exec(line) ?? [];
      const parent = indent === "" ? "" : `${mapped.findLast((room) => !room.includes("/"))}/`;
      mapped.push(...[...names.matchAll(/([\w-]+)\//g)].map(([, name]) => parent + name));
    }
    const tree = rooms.flatMap((room) => [
      room,
      ...readdirSync(join(root, room), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => `${room}/${name}`),
    ]);

    expect(mapped.sort()).toEqual(tree.sort());
  });
});

/** A line of a configuration of HAProxy without its comment and its indentation, and with the defaults of its variables. */
function toDirective(line: string): string {
  const value = line.replace(/"\$\{\w+-(.*?)\}"/, "$1").replace("/etc/haproxy/", "");
  return value.replace(/(?:^|\s+)#.*$/, "").trim();
}

function notRun(): never {
  throw new Error("this test reads only the names of commands and flags");
}

function createProgram(): Command {
  const program = new Command();
  const groups = [addMirror, addConfig, addStats, addTargets, addDeadLetters, addCaptures, addReplay, addJobs];
  for (const add of [...groups, addImport, addExport]) add(program);
  addServices(program, { runAgent: notRun, startHost: notRun });
  addDemo(program, "");
  return program;
}

function sourceFiles(): readonly string[] {
  return rooms
    .filter((room) => room !== "test")
    .flatMap((room) => readdirSync(join(root, room), { recursive: true }).map((file) => join(room, String(file))))
    .filter((file) => file.endsWith(".ts"));
}
