import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { spoaRelay } from "../../support/processes/command-line.ts";

// 0: done. 1: it did not work. 2: an argument or the configuration is wrong.

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-exit-"));
  mkdirSync(join(directory, "sub"));
  writeFileSync(join(directory, "access.log"), '192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5\n');
  const lineOf = (day: string) => `192.0.2.1 - - [${day}/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5\n`;
  writeFileSync(join(directory, "november.log"), lineOf("30/Nov") + lineOf("31/Nov"));
  writeFileSync(
    join(directory, "spoa-relay.yaml"),
    `queue: embedded:./data
host: { admin: "127.0.0.1:1" }
captures: { shop: { store: ./captures } }
targets: { a: { url: http://127.0.0.1:1, rate: 1/s } }
`,
  );
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a command; `@` is the configuration, and `DIR` the directory of the test. */
async function run(command: string) {
  const args = command.split(" ").flatMap((arg) => (arg === "@" ? ["--config", "DIR/spoa-relay.yaml"] : [arg]));
  return spoaRelay(...args.filter((arg) => arg !== "").map((arg) => arg.replaceAll("DIR", directory)));
}

/** All commands, as their help lists them. */
async function findCommands(parent = ""): Promise<readonly string[]> {
  const { stdout } = await run(`${parent} --help`);
  const list = stdout.split(/^Commands:$/m)[1];
  if (list === undefined) return [parent];
  const names = [...list.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name).filter((name) => name !== "help");
  return (await Promise.all(names.map((name) => findCommands(`${parent} ${name}`.trim())))).flat();
}

describe("the exit code is 2 for", { timeout: 240_000 }, () => {
  it("an unknown flag and an argument too many, whatever the command", async () => {
    const commands = await findCommands();
    expect(commands.length).toBeGreaterThan(20);
    for (const command of commands) {
      const flag = await run(`${command} --bogus`);
      // A missing flag that the command needs is named first.
      const named = expect.stringMatching(/unknown option '--bogus'|required option/);
      expect([flag.code, flag.stderr], command).toEqual([2, named]);
      if (command === "import") continue;
      const many = await run(`${command} a b c d`);
      expect(many.code, `${command}: ${many.stderr}`).toBe(2);
    }
  });

  it.each([
    ["", "Usage: spoa-relay"],
    ["bogus", "unknown command 'bogus'"],
    ["jobs bogus", "unknown command 'bogus'"],
    ["config check --config", "argument missing"],
    ["config check --config DIR/none.yaml", "there is no such file"],
    ["up --config DIR/sub", "it is a directory"],
    ["agent --config DIR/none.yaml", "there is no such file"],
    ["host --config DIR/none.yaml", "there is no such file"],
    ["stats --config DIR/none.yaml", "there is no such file"],
    ["demo --ports 99999", "a port from 1 to 65500"],
    ["mirror", "--mirror-url"],
    ["mirror -u ftp://x", "a URL such as"],
    ["mirror -u http://127.0.0.1:1 -p 0", "a port from 1"],
    ["mirror -u http://127.0.0.1:1 -r 1x", "a number of milliseconds or a duration"],
    ["captures show nix @", "there is no capture nix; the configuration has: shop"],
    ["captures cat shop --limit x @", "a number of requests"],
    ["captures cat shop --format xml @", "Allowed choices are http, json"],
    ["captures cat shop --where foo @", "path=REGEX"],
    ["captures cat shop --where path=( @", "not a regular expression"],
    ["captures show shop --from 2026-02-30T00:00:00Z @", "It must be a time"],
    ["captures show shop --from 2026-11-20T24:00:00Z @", "It must be a time"],
    ["captures show shop --to 2026-11-20T18:00:00+99:00 @", "It must be a time"],
    ["captures show shop --from now --to -1h @", "the range is empty"],
    ["import @", "missing required argument 'capture'"],
    ["import shop @", "missing required argument 'files'"],
    ["import nix DIR/access.log @", "there is no capture nix"],
    ["import shop DIR/access.log DIR/none.log @", "none.log cannot be read: there is no such file"],
    ["import shop DIR/sub @", "is a directory"],
    ["import shop DIR/access.log --format xyz @", "Allowed choices"],
    ["import shop DIR/access.log --time-zone Mars @", "a time zone, such as"],
    ["import shop DIR/access.log --base-time 31/Nov @", "It must be a time"],
    ["export shop @", "--format"],
    ["export nix --format har @", "there is no capture nix"],
    ["export shop --format har --target x @", "It must be an origin"],
    ["export shop --format har -o DIR/none/x.har @", "its directory does not exist"],
    ["export shop --format har -o DIR/sub @", "it is a directory"],
    ["replay shop @", "--target"],
    ["replay nix --target a @", "there is no capture nix"],
    ["replay shop --target nix @", "there is no target nix"],
    ["replay shop --target a --rate 100 @", "write 100/s, 100/min or 100/h"],
    ["replay shop --target a --rate 0.001/h @", "is below 0.01/h, the lowest rate"],
    ["replay shop --target a --rate unlimited @", "Use --asap"],
    ["replay shop --target a --speed 0.0001 @", "at least 0.001"],
    ["replay shop --target a --speed 1x --rate 1/s @", "cannot be used with"],
    ["replay shop --target a --max-gap 5 @", "write 5s or 5ms"],
    ["replay shop --target a --max-gap 5s --rate 1/s @", "works only with a speed"],
    ["replay shop --target a --loop 0 @", "from 1 to 1000000"],
    ["replay shop --target a --at -1h @", "is in the past"],
    ["jobs show nope @", "there is no job nope"],
    ["jobs pause nope @", "there is no job nope"],
    ["jobs cancel nope @", "there is no job nope"],
    ["targets set a --rate fast @", '--rate: "fast" is not a rate'],
    ["targets set a --concurrency 0 --sample half @", '--concurrency: must be from 1 to 10000\n--sample: "half"'],
    ["targets set a --sample 0.5 @", '"0.5" has no unit: write 0.5% or 50%'],
    ["targets set nix --rate 1/s @", "there is no target nix; the configuration has: a"],
    ["targets pause nix @", "there is no target nix; the configuration has: a"],
    ["targets resume nix @", "there is no target nix; the configuration has: a"],
  ])("%s", async (command, text) => {
    const { code, stdout, stderr } = await run(command);

    expect(stderr).toContain(text);
    expect([code, stdout]).toEqual([2, ""]);
  });

  it("a wrong file before anything of the others is imported", async () => {
    await run("import shop DIR/access.log DIR/none.log @");

    expect((await run("captures list @")).stdout).toMatch(/shop +\S+ +– +– +0 /);
  });
});

describe("the exit code is 1 for", { timeout: 120_000 }, () => {
  it.each([
    ["stats @", "no host answers"],
    ["targets set a --rate 1/s @", "no host answers"],
    ["replay shop --target a @", "capture shop has no requests yet"],
    ["import shop DIR/november.log @", "november.log:2: the time is invalid or before 1970"],
  ])("%s", async (command, text) => {
    const { code, stderr } = await run(command);

    expect([code, stderr]).toEqual([1, expect.stringContaining(text)]);
  });
});

describe("the exit code is 0 for", { timeout: 120_000 }, () => {
  it.each(["--help", "--version", "help", "config check @", "captures list @", "jobs list @"])(
    "%s",
    async (command) => {
      expect(await run(command)).toMatchObject({ code: 0, stderr: "" });
    },
  );
});
