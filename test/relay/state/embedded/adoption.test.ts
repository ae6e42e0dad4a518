import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it, onTestFinished } from "vitest";
import { EmbeddedState } from "../../../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../../../relay/state/fate-sheet.ts";
import { fannedOut } from "../../../contract/state-contract.ts";
import { job } from "../../../support/data/jobs.ts";
import { temporaryDirectory } from "../../../support/data/temporary-directory.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const trueMs = Date.UTC(2026, 11);

describe("EmbeddedState: a file of a version that measured ages by the wall clock", () => {
  it.each([
    ["right both times", 0, 0],
    ["two months ahead at the first start", 0, 60 * dayMs],
    ["in 1970 when it was written", hourMs - trueMs, 0],
    ["in 2100 when it was written", Date.UTC(2100, 0) - trueMs, 0],
  ])("forgets no pack, job and figure early and none late if the clock was %s", async (_, writtenMs, startMs) => {
    const directory = temporaryDirectory();
    const machine = new Machine(writtenMs);
    await write(EmbeddedState.open(directory, machine), machine);
    dropClock(directory);
    machine.errorMs = startMs;
    const state = EmbeddedState.open(directory, machine);
    onTestFinished(() => state.close());
    const soon = await look(state, machine);
    machine.errorMs = 0;
    machine.passedMs += 14 * dayMs;
    const fresh = await look(state, machine);
    machine.passedMs += 17 * dayMs;
    const late = await look(state, machine);

    expect(soon).toEqual({ waiting: [0], done: [0], jobs: ["ended", "running"], figures: 1 });
    expect(fresh).toEqual({ waiting: [0], done: [], jobs: ["ended", "running"], figures: expect.any(Number) });
    expect(late).toEqual({ waiting: [], done: [], jobs: ["running"], figures: expect.any(Number) });
  });
});

class Machine {
  readonly boot = "boot";
  passedMs = 0;
  errorMs: number;

  constructor(errorMs: number) {
    this.errorMs = errorMs;
  }

  wallMs(): number {
    return trueMs + this.errorMs + this.passedMs;
  }

  uptimeMs(): number {
    return hourMs + this.passedMs;
  }
}

/** A pack with a request that waits and one that is done, a pack that is done, an ended job, a running one, and a figure. */
async function write(state: EmbeddedState, machine: Machine): Promise<void> {
  const skipped = new Map([["a", new Map([[0, "skipped" as const]])]]);
  await state.ledger.recordFanOut(fannedOut({ pack: "waiting", requests: 2, targets: skipped }));
  await state.ledger.recordFanOut(fannedOut({ pack: "done", requests: 1, targets: skipped }));
  await state.jobs.write(job({ id: "ended", status: "done", endedAtMs: machine.wallMs() }), 0);
  await state.jobs.write(job({ id: "running" }), 0);
  await state.figures.add("a", machine.wallMs(), new Map([["skipped", 1]]));
  state.close();
}

function dropClock(directory: string): void {
  const file = new DatabaseSync(join(directory, "state.db"));
  file.exec("DROP TABLE clock; DROP TABLE clock_begin");
  file.close();
}

let packs = 0;

/** What the state still knows, after it had several occasions to forget it. */
async function look({ ledger, jobs, figures }: EmbeddedState, machine: Machine) {
  for (let i = 0; i < 5; i++) await ledger.recordFanOut(fannedOut({ pack: `other ${packs++}`, targets: new Map() }));
  for (let i = 0; i < 5; i++) await figures.add("b", machine.wallMs(), new Map([["skipped", 1]]));
  await jobs.write(job({ id: `other${packs++}`, status: "done", endedAtMs: machine.wallMs() }), 0);
  const names = (await jobs.list()).map(({ job: { id } }) => id);
  return {
    waiting: [...settledIndexes(await ledger.sheet("a", "waiting"))],
    done: [...settledIndexes(await ledger.sheet("a", "done"))],
    jobs: names.filter((name) => !name.startsWith("other")),
    figures: (await figures.read("a", 0, Number.MAX_SAFE_INTEGER)).length,
  };
}
