import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../support/processes/command-line.ts";
import { haproxyModes } from "../support/processes/haproxy-modes.ts";
import { haproxyProgram } from "../support/processes/rig.ts";

const examples = resolve(import.meta.dirname, "../../agent/haproxy");
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-examples-"));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe.each(haproxyModes)("with mode $mode", ({ configure = (text) => text }) => {
  it.each(readdirSync(examples).filter((file) => file.startsWith("haproxy")))(
    "HAProxy loads %s without a warning",
    async (example) => {
      for (const file of readdirSync(examples)) copyFileSync(join(examples, file), join(directory, file));
      writeFileSync(join(directory, example), configure(readFileSync(join(examples, example), "utf8")));
      const { code, stdout, stderr } = await run(haproxyProgram(), "-c", "-f", join(directory, example));
      expect(`${stdout}${stderr}`).not.toMatch(/WARNING|ALERT/);
      expect(code).toBe(0);
    },
  );
});
