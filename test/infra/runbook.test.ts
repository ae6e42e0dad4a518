import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { runbookLink, runbookSections } from "../../infra/runbook.ts";
import { addDeadLetters } from "../../relay/commands/dead-letters.ts";
import { addJobs } from "../../relay/commands/jobs.ts";
import { addStats } from "../../relay/commands/stats.ts";
import { addTargets } from "../../relay/commands/targets.ts";
import { templatesOf } from "../support/aws/synthesis.ts";
import { readDocument, root, toAnchor } from "../support/data/documents.ts";
import { exampleNames } from "../support/data/layouts.ts";

const runbook = readDocument("infra/RUNBOOK.md").text;
const sections = runbook.split(/^## /m).slice(1);

describe("the runbook", () => {
  it("has a section for every alarm of every example, and an alarm for every section", () => {
    const descriptions = exampleNames.flatMap((name) =>
      Object.values(templatesOf(name)).flatMap((template) =>
        Object.values(template.findResources("AWS::CloudWatch::Alarm")).map(
          ({ Properties }) => Properties.AlarmDescription as string,
        ),
      ),
    );
    const links = descriptions.map((text) => /What to do: (\S+)$/.exec(text)?.[1]);
    const anchors = sections.map((text) => `infra/RUNBOOK.md#${toAnchor(text.split("\n")[0])}`);

    expect([...new Set(links)].sort()).toEqual(anchors.sort());
  });

  it("has the titles that the links are built from", () => {
    expect(sections.map((text) => text.split("\n")[0])).toEqual(Object.values(runbookSections));
    expect(runbookLink("deadLetters")).toBe("infra/RUNBOOK.md#dead-letters");
  });

  it("says in each section what it means, what is lost, how to look, what to do and when it is over", () => {
    for (const section of sections) {
      const parts = [...section.matchAll(/^\*\*(.+)\.\*\*/gm)].map(([, part]) => part);
      expect(parts).toEqual(["What it means", "What is lost", "How to look", "What to do", "When it is over"]);
    }
  });

  it("gives in each section the commands to look and to act", () => {
    for (const section of sections) {
      for (const part of ["How to look", "What to do"]) {
        const [, text = ""] = section.split(`**${part}.**`);
        expect(text.split(/^\*\*/m)[0]).toContain("```sh\n");
      }
    }
  });

  it("names commands that exist, with flags that they accept", () => {
    const program = new Command();
    for (const add of [addDeadLetters, addJobs, addStats, addTargets]) add(program);
    const groups = program.commands.map((command) => command.name()).join("|");
    const uses = [...runbook.matchAll(new RegExp(`spoa-relay ((?:${groups})\\b[^\\n\`]*)`, "g"))].map(([, use]) =>
      use.trim(),
    );

    expect(uses.length).toBeGreaterThan(10);
    for (const use of uses) {
      const [group, name] = use.split(" --")[0].split(" ");
      const found = program.commands.find((command) => command.name() === group);
      const command = found?.commands.find((one) => one.name() === name) ?? (name === undefined ? found : undefined);
      const flags = [...use.matchAll(/--[a-z]+/g)].map(([flag]) => flag);
      expect([use, command !== undefined]).toEqual([use, true]);
      expect(command?.options.map(({ long }) => long)).toEqual(expect.arrayContaining(flags));
    }
  });

  it("names events that functions log", () => {
    const named = [...runbook.matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)].map(([, name]) => name);
    const sources = [
      "functions/schedule/schedule.ts",
      "functions/fanout.ts",
      "functions/replay.ts",
      "functions/batch.ts",
      "functions/capture/sink.ts",
      "functions/lambda/function-secrets.ts",
      "functions/lambda/replay.ts",
      "functions/replay-warnings.ts",
      "functions/state-patience.ts",
      "relay/credentials/target-credentials.ts",
    ];
    const text = sources.map((file) => readFileSync(join(root, file), "utf8")).join("");
    const events = named.filter((name) => !name.startsWith("spoa-relay") && !name.startsWith("aws-"));

    expect(events.length).toBeGreaterThan(3);
    for (const event of events) expect(text).toMatch(new RegExp(`(?:event: |(?:down|up): \\[\\s*)"${event}"`));
  });
});
