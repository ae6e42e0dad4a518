import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, styleText } from "node:util";
import type { Attack, Finding } from "./attack.ts";
import { Ground } from "./ground.ts";

const help = `Usage: npm run attack -- [options] [NAME...]

Attacks real agents and hosts on this machine, and says which promises of SECURITY.md they kept.

  --tree DIRECTORY  attack the programs of another checkout with its packages installed, such as an older version
  --list            print the names of the attacks and what they try to break

Example: npm run attack -- rate-of-a-billion
Exit codes: 0 every promise was kept, 1 one was broken, 2 wrong argument
`;

// An attack that takes longer counts as a broken promise: something hangs.
const maxMs = 180_000;

async function allAttacks(): Promise<readonly Attack[]> {
  const files = readdirSync(join(import.meta.dirname, "attacks")).sort();
  return Promise.all(files.map(async (file) => (await import(`./attacks/${file}`)).attack as Attack));
}

async function runAttack(attack: Attack, tree: string): Promise<Finding> {
  const ground = new Ground(tree);
  const timeout = new AbortController();
  try {
    const hangs = sleep(maxMs, { held: false, seen: `no result within ${maxMs / 1_000} s` }, timeout);
    return await Promise.race([attack.run(ground), hangs]);
  } catch (error) {
    return { held: false, seen: `failed: ${(error as Error).message}` };
  } finally {
    timeout.abort();
    await ground.end();
  }
}

function toLine(attack: Attack, finding: Finding): string {
  const verdict = finding.held ? styleText("green", "kept  ") : styleText("red", "BROKEN");
  const memory = finding.peakMiB === undefined ? "" : `${finding.peakMiB} MiB`;
  const time = finding.longestMs === undefined ? "" : `${Math.round(finding.longestMs)} ms`;
  const lost = finding.lost === undefined ? "" : `${finding.lost} lost`;
  const figures = `${memory.padStart(9)} ${time.padStart(10)} ${lost.padStart(9)}`;
  return `${verdict}  ${attack.name.padEnd(28)} ${figures}  ${finding.seen}`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { tree: { type: "string" }, list: { type: "boolean" }, help: { type: "boolean" } },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const attacks = await allAttacks();
  const unknown = positionals.find((name) => !attacks.some((attack) => attack.name === name));
  if (unknown !== undefined) {
    throw new TypeError(`there is no attack ${unknown}; there are: ${attacks.map(({ name }) => name).join(", ")}`);
  }
  if (values.list) {
    for (const { name, promise } of attacks) process.stdout.write(`${name.padEnd(28)} ${promise}\n`);
    return 0;
  }
  const tree = resolve(values.tree ?? join(import.meta.dirname, "../.."));
  let broken = 0;
  for (const attack of attacks.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
    const finding = await runAttack(attack, tree);
    if (!finding.held) broken++;
    process.stdout.write(`${toLine(attack, finding)}\n`);
  }
  process.stdout.write(broken === 0 ? "every promise was kept\n" : `${broken} broken\n`);
  return broken === 0 ? 0 : 1;
}

try {
  // Sockets of an attack that hangs may keep the process alive.
  process.exit(await main());
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${help}`);
  process.exit(2);
}
