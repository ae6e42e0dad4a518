import { randomFillSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { compactCapture } from "../../../relay/capture/capture-compaction.ts";
import { sumCapture } from "../../../relay/capture/capture-index.ts";
import { CaptureReader, type SkippedPart } from "../../../relay/capture/capture-reader.ts";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { pack } from "../../support/data/packs.ts";

const all = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
const hourMs = Date.UTC(2026, 10, 22, 17);

describe("merging the objects of a capture", () => {
  it("merges the small objects of each minute into one", async () => {
    const archive = await archiveOf(120);

    const { before, after, skipped } = await compactCapture(archive, "c", all);

    expect([before.objects, after.objects, skipped]).toEqual([120, 2, 0]);
    expect(after.bytes).toBeLessThan(before.bytes / 4);
    expect(await sumCapture(archive, "c", all)).toMatchObject({ objects: 2, requests: 120, bytes: after.bytes });
    expect(await sequencesOf(archive)).toEqual(Array.from({ length: 120 }, (_, i) => i));
  });

  it("reads and writes nothing the second time", async () => {
    const archive = await archiveOf(120);
    await compactCapture(archive, "c", all);
    const names = await namesOf(archive);
    archive.reads.length = 0;

    const { before, after } = await compactCapture(archive, "c", all);

    expect([before.objects, after.objects]).toEqual([0, 0]);
    expect(await namesOf(archive)).toEqual(names);
    expect(archive.reads).toEqual([]);
  });

  it("keeps objects outside its range", async () => {
    const archive = await archiveOf(10);
    const names = await namesOf(archive);

    await compactCapture(archive, "c", { fromMs: hourMs + 3_000, toMs: hourMs + 6_000 });

    expect(await namesOf(archive)).toEqual(expect.arrayContaining([...names.slice(0, 3), ...names.slice(6)]));
    expect(await namesOf(archive)).toHaveLength(8);
  });

  it("keeps objects that begin before its range or end after it", async () => {
    const archive = new MemoryArchive();
    for (const [sequence, ms] of [0, 500, 1_000, 1_500, 2_000].entries()) await writeSpan(archive, sequence, ms, 1_000);

    const { before } = await compactCapture(archive, "c", { fromMs: hourMs + 500, toMs: hourMs + 3_000 });

    expect(before.objects).toBe(3);
    expect(await sumCapture(archive, "c", all)).toMatchObject({ objects: 3, requests: 10 });
  });

  it("keeps one copy of the requests that two shares of a pack have in common", async () => {
    const archive = new MemoryArchive();
    const requests = [0, 1, 2].map((ms) => ({ capturedAtMs: hourMs + ms, id: "" }));
    const whole = pack({ requests });
    for (const share of [whole.requests.slice(0, 2), whole.requests.slice(1)]) {
      await writeCapture(archive, "c", [{ pack: whole, requests: share }]);
    }

    await compactCapture(archive, "c", all);

    expect(await sumCapture(archive, "c", all)).toMatchObject({ objects: 1, requests: 3 });
    expect(await sequencesOf(archive)).toHaveLength(3);
  });

  it("makes objects of at most 8 MiB, and does not merge large ones again", async () => {
    const archive = await archiveOf(30, 1_000_000);

    const { after } = await compactCapture(archive, "c", all);
    const names = await namesOf(archive);
    const bytes = [...archive.objects.values()].map(({ length }) => length);
    archive.reads.length = 0;
    await compactCapture(archive, "c", all);

    expect(after.objects).toBe(4);
    expect(Math.max(...bytes)).toBeLessThan(8 * 1024 * 1024);
    expect(await namesOf(archive)).toEqual(names);
    expect(await sequencesOf(archive)).toHaveLength(30);
  });

  it.each([
    ["small", 100, 12],
    ["large", 600_000, 12],
  ])(
    "loses and repeats nothing if it dies after any change, and cleans up next time: %s",
    async (_, bodyBytes, count) => {
      for (let changes = 0; changes <= count + 1; changes++) {
        const archive = await archiveOf(count, bodyBytes);
        const died = await compactCapture(dying(archive, changes), "c", all).then(
          () => false,
          () => true,
        );

        expect(died).toBe(changes <= count);
        expect(await sequencesOf(archive)).toEqual(Array.from({ length: count }, (__, i) => i));

        await compactCapture(archive, "c", all);

        expect(await sequencesOf(archive)).toEqual(Array.from({ length: count }, (__, i) => i));
        expect(await sumCapture(archive, "c", all)).toMatchObject({ objects: 1, requests: count });
      }
    },
  );

  it("removes left-over members of a merged object, also if new objects were written meanwhile", async () => {
    for (const bodyBytes of [100, 600_000]) {
      const archive = await archiveOf(12, bodyBytes);
      await compactCapture(dying(archive, 5), "c", all).catch(() => {});
      await write(archive, 100, 5_500, 100);

      await compactCapture(archive, "c", all);

      expect(await sumCapture(archive, "c", all)).toMatchObject({ requests: 13 });
      expect(await sequencesOf(archive)).toEqual([0, 1, 2, 3, 4, 5, 100, 6, 7, 8, 9, 10, 11]);
    }
  });

  it("loses nothing if several compactions run at the same time", async () => {
    for (let round = 0; round < 10; round++) {
      const archive = await archiveOf(40);
      const ranges = [all, { ...all, toMs: hourMs + 20_000 }, { ...all, fromMs: hourMs + 10_000 }, all];

      await Promise.all(ranges.map((range) => compactCapture(archive, "c", range)));

      expect(await sequencesOf(archive)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    }
  });

  it("keeps and reports a broken object", async () => {
    const archive = await archiveOf(5);
    const [, , broken] = await namesOf(archive);
    archive.objects.set(broken, Buffer.from("broken"));
    const parts: SkippedPart[] = [];

    const { skipped } = await compactCapture(archive, "c", { ...all, onSkip: (part) => parts.push(part) });

    expect(skipped).toBe(1);
    expect(parts).toMatchObject([{ name: broken, requests: 1 }]);
    expect(await namesOf(archive)).toHaveLength(2);
    expect(archive.objects.has(broken)).toBe(true);
    expect(await sequencesOf(archive)).toEqual([0, 1, 3, 4]);
  });

  it("stops when its signal is aborted", async () => {
    const archive = await archiveOf(120);
    // A large object of the same time.
    const packs = Array.from({ length: 10 }, (_, i) => {
      const body = randomFillSync(Buffer.alloc(600_000));
      return pack({ sequence: 200 + i, requests: [{ capturedAtMs: hourMs + i * 2_000, body }] });
    });
    await writeCapture(
      archive,
      "c",
      packs.map((each) => ({ pack: each, requests: each.requests })),
    );
    const names = await namesOf(archive);

    await compactCapture(archive, "c", { ...all, signal: AbortSignal.abort() });

    expect(await namesOf(archive)).toEqual(names);
    expect(archive.reads).toEqual([]);
  });
});

/** Creates `count` objects with one request each, one second apart; bodies above 1,000 bytes do not compress. */
async function archiveOf(count: number, bodyBytes = 100): Promise<MemoryArchive> {
  const archive = new MemoryArchive();
  for (let i = 0; i < count; i++) await write(archive, i, i * 1_000, bodyBytes);
  return archive;
}

async function write(archive: MemoryArchive, sequence: number, ms: number, bodyBytes: number): Promise<void> {
  const body = bodyBytes > 1_000 ? randomFillSync(Buffer.alloc(bodyBytes)) : Buffer.alloc(bodyBytes, "body");
  const one = pack({ sequence, requests: [{ capturedAtMs: hourMs + ms, body, id: "" }] });
  await writeCapture(archive, "c", [{ pack: one, requests: one.requests }]);
}

/** Writes an object with two requests. */
async function writeSpan(archive: MemoryArchive, sequence: number, ms: number, spanMs: number): Promise<void> {
  const requests = [ms, ms + spanMs].map((atMs) => ({ capturedAtMs: hourMs + atMs, id: "" }));
  const two = pack({ sequence, requests });
  await writeCapture(archive, "c", [{ pack: two, requests: two.requests }]);
}

/** An archive that throws after a number of changes; each deleted object is one change. */
function dying(archive: MemoryArchive, changes: number): MemoryArchive {
  let left = changes;
  const change = () => {
    if (left-- <= 0) throw new Error("died");
  };
  return Object.assign(Object.create(archive) as MemoryArchive, {
    put: async (name: string, bytes: Uint8Array) => {
      change();
      await archive.put(name, bytes);
    },
    delete: async (names: readonly string[]) => {
      for (const name of names) {
        change();
        await archive.delete([name]);
      }
    },
  });
}

async function sequencesOf(archive: MemoryArchive): Promise<number[]> {
  const sequences: number[] = [];
  for await (const entry of new CaptureReader(archive, "c", all)) sequences.push(entry.pack.sequence);
  return sequences;
}
