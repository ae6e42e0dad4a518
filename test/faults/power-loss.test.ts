import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Journal } from "../../agent/shipper/journal.ts";
import { DirectoryArchive } from "../../relay/archive/directory.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { BrowsableQueue } from "../../relay/queue/port.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../relay/state/fate-sheet.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { Recording } from "../support/power/power-cut.ts";
import { written } from "../support/power/written.ts";

const support = (name: string) => fileURLToPath(new URL(`../support/power/${name}`, import.meta.url));
const cuts = 150;
let directory: string;
let recorder: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "spoa-relay-power-"));
  recorder = join(directory, "recorder.so");
  execFileSync("gcc", ["-shared", "-fPIC", "-O1", "-o", recorder, support("recorder.c"), "-ldl", "-lpthread"]);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

// Each finding is a sentence, so that a failure says which call was the last before the power failed, and with which seed.
describe("after a power failure at any moment", { timeout: 240_000 }, () => {
  it("every request is in a queue or has a fate, and what the ledger knew before it knows still", async () => {
    const seen = await survive("relay", async (left, marks) => {
      if (!existsSync(join(left, "data"))) return marks.size > 0 ? ["the data directory is gone"] : [];
      const open = (name: string) => EmbeddedQueue.open({ directory: join(left, "data"), name });
      const [ingress, target] = [open("ingress"), open("target-t")];
      const state = EmbeddedState.open(join(left, "data"));
      const mistakes: string[] = [];
      const [waiting, enqueued, dead] = await Promise.all([ingress, target, target.deadLetters].map(idsIn));
      for (const { index, id, dies } of written) {
        const settled = settledIndexes(await state.ledger.sheet("t", id)).has(0);
        const fannedOut = (await state.ledger.fannedOut(id)).has("t");
        if (marks.has(`settled ${index}`) && !settled) mistakes.push(`${id} had a fate`);
        if (!marks.has(`sent ${index}`)) continue;
        if (settled && dies && !dead.has(id)) mistakes.push(`${id} is no dead letter, as the ledger says`);
        if (!settled && fannedOut && !enqueued.has(id)) mistakes.push(`${id} is not in the target's queue`);
        if (!settled && !fannedOut && !waiting.has(id)) mistakes.push(`${id} is not in the ingress queue`);
      }
      const rate = Math.max(0, ...[...marks].flatMap((each) => /^rate (\d+)$/.exec(each)?.slice(1).map(Number) ?? []));
      const { ratePerSecond = 0 } = (await state.controls.read("t")).control.settings ?? {};
      if (Number(ratePerSecond) < rate) mistakes.push(`the rate was ${rate}`);
      for (const each of [ingress, target, state]) each.close();
      return mistakes;
    });
    expect(seen).toEqual([]);
  });

  it("the journal has every pack that was in it at the last sync", async () => {
    const seen = await survive("journal", async (left, marks) => {
      const found = new Map<string, Uint8Array>();
      if (existsSync(join(left, "journal"))) {
        const options = { directory: join(left, "journal"), run: "b", maxBytes: 1e9, whenFull: "drop-newest" } as const;
        const journal = Journal.open({ ...options, onExposed: () => {}, onLost: () => {} });
        for (let taken = journal.take(); taken; taken = journal.take()) {
          found.set(JSON.parse(taken.message.body).id, taken.message.pack);
        }
      }
      const kept = written.filter(({ index }) => marks.has(`synced ${index}`) && !marks.has(`done ${index}`));
      const lacks = kept.filter(({ id }) => !found.has(id)).map(({ id }) => `${id} is lost`);
      const wrong = written.filter(({ id, pack }) => found.has(id) && !equal(found.get(id), pack));
      return [...lacks, ...wrong.map(({ id }) => `${id} has other bytes`)];
    });
    expect(seen).toEqual([]);
  });

  it("an archive has every object that was put into it, or the one that it was merged into", async () => {
    const seen = await survive("archive", async (left, marks) => {
      const archive = DirectoryArchive.openToRead(join(left, "archive"));
      const mistakes: string[] = [];
      for (const { index, name, pack } of written) {
        const found = await archive.get(name);
        if (found && !equal(found, pack)) mistakes.push(`${name} has other bytes`);
        if (found || !marks.has(`put ${index}`)) continue;
        const last = index - (index % 4) + 3;
        const merged = Buffer.concat(written.slice(last - 3, last + 1).map((each) => each.pack));
        const inMerged = marks.has(`merging ${index}`) && equal(await archive.get(`merged/${last}`), merged);
        if (!inMerged) mistakes.push(`${name} is lost`);
      }
      return mistakes;
    });
    expect(seen).toEqual([]);
  });
});

/** Lets the writer use a store, cuts the power at many moments, and returns what `look` finds wrong with the rest. */
async function survive(
  store: string,
  look: (left: string, marks: ReadonlySet<string>) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const root = join(directory, store);
  const log = join(directory, `${store}.log`);
  mkdirSync(root);
  const env = { ...process.env, LD_PRELOAD: recorder, RECORD_ROOT: root, RECORD_TO: log };
  const writer = spawnSync(process.execPath, [support("writer.ts"), root, store], { env, encoding: "utf8" });
  expect(writer.stderr).toBe("");
  const recording = new Recording(root, log);
  expect(recording.marks(recording.length).length).toBeGreaterThanOrEqual(written.length);
  const seed = Number(process.env.POWER_SEED ?? Date.now() % 1_000_000);
  const random = seededRandom(seed);
  const anywhere = Array.from({ length: cuts }, () => Math.floor(random() * (recording.length + 1)));
  const calls = [...anywhere, recording.length].sort((a, b) => a - b);
  const seen: string[] = [];
  await recording.cut(calls, random, async (until, leave) => {
    const left = mkdtempSync(join(directory, "left-"));
    leave(left);
    const found = await look(left, new Set(recording.marks(until))).catch((error: Error) => [error.message]);
    seen.push(...found.map((mistake) => `POWER_SEED=${seed}, call ${until}: ${mistake}`));
    rmSync(left, { recursive: true });
  });
  return seen.slice(0, 10);
}

async function idsIn(queue: BrowsableQueue): Promise<ReadonlySet<string>> {
  const messages = await queue.browse(1_000);
  const known = new Map(written.map(({ id, pack }) => [id, pack]));
  return new Set(
    messages
      .map(({ body, pack }) => [JSON.parse(body).id, pack])
      .flatMap(([id, pack]) => (equal(known.get(id), pack) ? [id] : [])),
  );
}

function equal(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one !== undefined && Buffer.compare(one, other) === 0;
}
