import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, styleText } from "node:util";
import { allAttacks } from "./all-attacks.ts";
import type { Attack, Finding } from "./attack.ts";
import { Ground } from "./ground.ts";

const help = `Usage: npm run attack -- [options] [NAME...]

Attacks real agents and hosts on this machine, and says which promises of SECURITY.md they kept: one row for each attack, with the
largest memory of an attacked process, the longest time that somebody else had to wait, and what was lost.

  --tree DIRECTORY  attack the programs of another checkout with its packages installed, such as an older version
  --list            print the names of the attacks and what they try to break

Example: npm run attack -- rate-of-a-billion
Exit codes: 0 every promise was kept, 1 one was broken, 2 wrong argument, 130 or 143 ended by a signal
`;

// An attack that takes longer counts as a broken promise: something hangs.
const maxMs = 180_000;
const signalCodes = { SIGINT: 130, SIGTERM: 143 } as const;

interface Result {
  readonly name: string;
  readonly finding: Finding;
}

/** Rejects with the reason of `stop` if that is aborted; the processes of the attack have ended then, too. */
async function runAttack(attack: Attack, tree: string, stop: AbortSignal): Promise<Finding> {
  const ground = new Ground(tree);
  const over = new AbortController();
  const ended = AbortSignal.any([over.signal, stop]);
  const hangs = sleep(maxMs, { held: false, seen: `no result within ${maxMs / 1_000} s` }, { signal: ended });
  try {
    return await Promise.race([attack.run(ground), hangs]);
  } catch (error) {
    stop.throwIfAborted();
    return { held: false, seen: `failed: ${(error as Error).message}` };
  } finally {
    over.abort();
    hangs.catch(() => {});
    await ground.end();
  }
}

const columns: readonly (readonly [name: string, width: number])[] = [
  ["result", 6],
  ["attack", 28],
  ["memory", -9],
  ["longest", -10],
  ["lost", -9],
  ["seen", 0],
];

/** A row of the table; widths below 0 are of columns that are aligned to the right. */
function toRow(cells: readonly string[]): string {
  const padded = cells.map((cell, i) => {
    const [, width] = columns[i];
    return width < 0 ? cell.padStart(-width) : cell.padEnd(width);
  });
  return padded.join("  ").trimEnd();
}

function toCells({ name, finding: { held, peakMiB, longestMs, lost, seen } }: Result): readonly string[] {
  return [
    held ? "kept" : "BROKEN",
    name,
    peakMiB === undefined ? "" : `${Math.round(peakMiB)} MiB`,
    longestMs === undefined ? "" : `${Math.round(longestMs)} ms`,
    lost === undefined ? "" : `${lost}`,
    // One row, whatever the attacked process has printed.
    seen.replaceAll(/\s+/g, " ").trim(),
  ];
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(stop: AbortSignal): Promise<number> {
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
    for (const { name, promise } of attacks) print(`${name.padEnd(28)} ${promise}`);
    return 0;
  }
  const tree = resolve(values.tree ?? join(import.meta.dirname, "../.."));
  for (const part of ["relay/main.ts", "node_modules"]) {
    if (!existsSync(join(tree, part)))
      throw new TypeError(`${tree} is no checkout with its packages: it has no ${part}`);
  }
  const chosen = attacks.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const results: Result[] = [];
  print(styleText("dim", toRow(columns.map(([name]) => name))));
  try {
    for (const attack of chosen) {
      const result = { name: attack.name, finding: await runAttack(attack, tree, stop) };
      results.push(result);
      const row = toRow(toCells(result));
      print(result.finding.held ? row : styleText("red", row));
    }
  } finally {
    print(summaryOf(results, chosen.length));
  }
  return results.every(({ finding }) => finding.held) ? 0 : 1;
}

function summaryOf(results: readonly Result[], chosen: number): string {
  const broken = results.filter(({ finding }) => !finding.held).map(({ name }) => name);
  const skipped = chosen > results.length ? `; ${chosen - results.length} were not carried out` : "";
  if (broken.length === 0) return `${results.length} of ${results.length} promises were kept${skipped}`;
  return `${broken.length} of ${results.length} promises were broken${skipped}: ${broken.join(", ")}`;
}

const stopping = new AbortController();
let signalCode: number | undefined;
for (const [name, code] of Object.entries(signalCodes)) {
  // A second signal ends the process at once.
  process.once(name, () => {
    signalCode = code;
    stopping.abort(new Error(`ended by ${name}`));
  });
}
try {
  // Sockets of an attack that hangs may keep the process alive.
  process.exit(await main(stopping.signal));
} catch (error) {
  if (signalCode !== undefined) process.exit(signalCode);
  if (!(error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${help}`);
  process.exit(2);
}
