import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { addCaptures } from "../../../relay/commands/captures.ts";
import { addDemo } from "../../../relay/commands/demo.ts";
import { addMirror } from "../../../relay/commands/mirror.ts";
import { addReplay } from "../../../relay/commands/replay.ts";
import { addTargets } from "../../../relay/commands/targets.ts";

const digits = "9".repeat(400);

describe("a flag whose number is out of bounds", () => {
  it.each([
    ["replay c --target a --rate 1000000000/s", "is above 1000000/s, the highest rate; use --asap for more"],
    ["replay c --target a --speed 1e9", "at least 0.001 and at most 1000000"],
    ["replay c --target a --speed 1000001x", "at least 0.001 and at most 1000000"],
    [`replay c --target a --speed ${digits}x`, "at least 0.001 and at most 1000000"],
    ["replay c --target a --loop 1000001", "from 1 to 1000000"],
    ["replay c --target a --max-gap 366d", "from 1ms to 365d"],
    [`replay c --target a --max-gap ${digits}d`, "above 36525d, the longest duration"],
    [`replay c --target a --at +${digits}d`, "It must be a time"],
    ["replay c --target a --from -36526d", "It must be a time"],
    [`captures cat c --limit ${digits}`, "at most 1000000000"],
    ["mirror -u http://127.0.0.1:1 -p 65501", "a port from 1 to 65500"],
    ["mirror -u http://127.0.0.1:1 -p 0x10", "a port from 1 to 65500"],
    ["mirror -u http://127.0.0.1:1 -p 1e3", "a port from 1 to 65500"],
    ["mirror -u http://127.0.0.1:1 -r 25d", "at most 24d"],
    ["mirror -u http://127.0.0.1:1 -r 2147483648", "at most 24d"],
    ["demo --ports 99999999", "a port from 1 to 65500"],
    ["targets set a --rate 1000000000/s", '--rate: "1000000000/s" is above 1000000/s, the highest rate; use unlimited'],
    ["targets set a --concurrency 10001", "--concurrency: must be from 1 to 10000"],
    [`targets set a --concurrency ${digits}`, "--concurrency: must be from 1 to 10000"],
    ["targets set a --sample 101%", "--sample: "],
  ])("is refused with its bound: %s", async (line, text) => {
    expect(await mistakeOf(line.split(" "))).toContain(text);
  });
});

/** What the command prints and throws. Each of these ends before it does anything. */
async function mistakeOf(args: readonly string[]): Promise<string> {
  const program = new Command().exitOverride();
  let printed = "";
  for (const add of [addReplay, addCaptures, addMirror, addTargets]) add(program);
  addDemo(program, "");
  const quiet = (command: Command) => {
    command.exitOverride().configureOutput({
      writeErr: (text) => {
        printed += text;
      },
    });
    for (const each of command.commands) quiet(each);
  };
  quiet(program);
  try {
    await program.parseAsync(["node", "spoa-relay", ...args]);
  } catch (error) {
    return printed + (error as Error).message;
  }
  throw new Error(`${args.join(" ")} was accepted`);
}
