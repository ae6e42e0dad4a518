import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root, runMutants, type TestedMutant } from "./mutation-run.ts";
import { formatSurvivors, formatTable, isLeft, type RoomResult } from "./mutation-table.ts";
import { defaultRooms, otherTests, type Room, toRoom } from "./rooms.ts";
import { mutantDigest } from "./sample.ts";

const help = `Usage: npm run test:mutation -- [options] [PATH...]

Changes the code in one place after the other, such as < to <=, and runs the tests that reach it: do they notice? Prints how many
changes were noticed in each room, and which were not. Takes a random sample: all changes would take days.

  --share N   share of the changes to test, from 0 to 1 (default: 0.1)
  --seed N    seed of the sample: the same seed draws the same changes
  --others    run what the tests of a room do not notice with the quick tests of all rooms, too: takes longer

PATH is a folder or a file of agent/, relay/ or functions/ (default: ${defaultRooms.join(", ")}).

Example: npm run test:mutation -- --share 0.5 relay/pack agent/spop/session.ts
Exit codes: 0 done, 1 a test fails without any change, 2 wrong argument
`;

interface Order {
  readonly rooms: readonly Room[];
  readonly share: number;
  readonly seed: number;
  readonly others: boolean;
}

/** Throws a `TypeError` if an argument is wrong; undefined if only the help was asked for. */
function parseOrder(): Order | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      share: { type: "string", default: "0.1" },
      seed: { type: "string" },
      others: { type: "boolean", default: false },
      help: { type: "boolean" },
    },
  });
  if (values.help) return undefined;
  const share = Number(values.share);
  if (!(share > 0 && share <= 1)) throw new TypeError(`--share must be above 0 and at most 1: ${values.share}`);
  if (values.seed !== undefined && !/^\d{1,15}$/.test(values.seed)) {
    throw new TypeError(`--seed must be a whole number: ${values.seed}`);
  }
  const seed = values.seed === undefined ? randomInt(2 ** 32) : Number(values.seed);
  const paths = positionals.length > 0 ? positionals : defaultRooms;
  return { rooms: paths.map((path) => toRoom(path, root)), share, seed, others: values.others };
}

async function testRoom({ path, files, tests }: Room, { share, seed, others }: Order): Promise<RoomResult> {
  process.stderr.write(`${path} …\n`);
  const mutants = await runMutants({ files, tests, sample: { share, seed } });
  const left = mutants.filter(isLeft);
  if (!others || left.length === 0) return { path, mutants };
  process.stderr.write(`${path}: ${left.length} left for the tests of other rooms …\n`);
  const again = await runMutants({
    files: [...new Set(left.map(({ fileName }) => fileName))],
    tests: otherTests,
    sample: { digests: left.map(mutantDigest) },
  });
  const results = new Map<string, TestedMutant>(again.map((mutant) => [mutantDigest(mutant), mutant]));
  return { path, mutants: mutants.map((mutant) => results.get(mutantDigest(mutant)) ?? mutant) };
}

async function main(): Promise<number> {
  let order: Order | undefined;
  try {
    order = parseOrder();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  if (order === undefined) {
    process.stdout.write(help);
    return 0;
  }
  process.stdout.write(`seed ${order.seed}, ${order.share} of the changes\n`);
  const results: RoomResult[] = [];
  for (const room of order.rooms) {
    const result = await testRoom(room, order);
    // Each room when it is done: a run takes long, and may be stopped.
    process.stdout.write(`\n${formatTable([result])}\n${formatSurvivors(result.mutants, read)}\n`);
    results.push(result);
  }
  if (results.length > 1) process.stdout.write(`\n${formatTable(results)}\n`);
  return 0;
}

function read(fileName: string): string {
  return readFileSync(join(root, fileName), "utf8");
}

process.chdir(root);
try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
