import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirectoryArchive } from "../../../relay/archive/directory.ts";
import { type Archive, type ArchiveEntry, ArchiveError, type ArchiveRange } from "../../../relay/archive/port.ts";
import { compactCapture } from "../../../relay/capture/capture-compaction.ts";
import { listCapture, sumCapture } from "../../../relay/capture/capture-index.ts";
import { sealCaptureObject, toStoredPack } from "../../../relay/capture/capture-object.ts";
import { type CapturePosition, comparePositions } from "../../../relay/capture/capture-position.ts";
import {
  type CaptureEntry,
  CaptureReader,
  type CaptureReaderOptions,
  type SkippedPart,
} from "../../../relay/capture/capture-reader.ts";
import { putCaptureObject, writeCapture } from "../../../relay/capture/capture-writer.ts";
import { toObjectName } from "../../../relay/capture/object-name.ts";
import { encodeShare, type Pack } from "../../../relay/pack/pack.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { pack } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const all = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };
const hourMs = Date.UTC(2026, 10, 22, 17);

/** A pack by its times, relative to a minute before a full hour. */
interface PackDraft {
  readonly agent: string;
  readonly atMs: number;
  readonly gapsMs: readonly number[];
  readonly bodyBytes: number;
}

const drafts: fc.Arbitrary<PackDraft[]> = fc.array(
  fc.record({
    agent: fc.constantFrom("a", "b", "c"),
    atMs: fc.nat(150_000),
    gapsMs: fc.array(fc.oneof(fc.constantFrom(0, 1), fc.nat(3_000), fc.nat(90_000)), { maxLength: 6 }),
    bodyBytes: fc.constantFrom(0, 10, 5_000),
  }),
  { minLength: 1, maxLength: 14 },
);

/** A change of a capture: a batch of packs by their numbers, or a compaction that may die half way. */
type Step =
  | { readonly do: "write"; readonly packs: readonly number[] }
  | { readonly do: "compact"; readonly fromMs: number; readonly spanMs: number; readonly callsLeft: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("write" as const), packs: fc.array(fc.nat(13)) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("compact" as const),
        fromMs: fc.nat(100_000),
        spanMs: fc.nat(400_000),
        callsLeft: fc.oneof(fc.nat(6), fc.constant(1_000)),
      }),
    },
  ),
  { maxLength: 8 },
);

describe("reading a capture", () => {
  it("yields requests in order and once, for any batches, copies, compactions, crashes and ranges", async () => {
    await fc.assert(
      fc.asyncProperty(
        drafts,
        steps,
        fc.nat(200_000),
        fc.nat(400_000),
        fc.nat(100),
        fc.constantFrom(0, 300, 6_000, 64_000_000),
        async (packDrafts, history, fromMs, spanMs, cut, maxHeldBytes) => {
          const packs = packDrafts.map(toPack);
          const archive = new MemoryArchive();
          const written = await play(archive, packs, history);
          const range = { fromMs: startMs + fromMs, toMs: startMs + fromMs + spanMs };

          for (const each of [all, range]) {
            const expected = expectedPositions(
              packs.filter((_, i) => written.has(i)),
              each,
            );
            const entries = await read(archive, { ...each, maxHeldBytes });
            expect(entries.map(({ position }) => position)).toEqual(expected);
            for (const { position, request } of entries) {
              const original = packs.find(({ id }) => id === position.packId)?.requests[position.index];
              expect(Buffer.compare(request.record, original?.record as Uint8Array)).toBe(0);
              expect(request.id).toBe(original?.id);
            }
            const after = expected[cut % (expected.length + 1)];
            if (!after) continue;
            const rest = await read(archive, { ...each, maxHeldBytes, after });
            expect(rest.map(({ position }) => position)).toEqual(
              expected.filter((position) => comparePositions(position, after) > 0),
            );
          }
        },
      ),
      { numRuns: 150 },
    );
  }, 240_000);

  it("continues after a position even if the objects were merged meanwhile", async () => {
    const { archive } = await manySmall(40);
    const before = await read(archive, all);
    const after = before[17].position;
    await compactCapture(archive, "c", all);

    const rest = await read(archive, { ...all, after });

    expect(await namesOf(archive)).toHaveLength(1);
    expect(rest.map(({ position }) => position)).toEqual(before.slice(18).map(({ position }) => position));
  });

  it("loses and repeats nothing if objects are merged while it reads", async () => {
    const { archive } = await manySmall(40);
    const expected = await read(archive, all);

    for (const moment of [0, 1, 20, 39]) {
      const { archive: fresh } = await manySmall(40);
      const reader = new CaptureReader(fresh, "c", all);
      const entries: CaptureEntry[] = [];
      for await (const entry of reader) {
        if (entries.length === moment) await compactCapture(fresh, "c", all);
        entries.push(entry);
      }
      expect(entries.map(({ position }) => position)).toEqual(expected.map(({ position }) => position));
      expect(reader.skipped).toEqual({ parts: 0, requests: 0 });
    }
  });

  it.each<[string, number, () => Archive]>([
    ["a listing that is a snapshot", 60, () => new MemoryArchive()],
    ["a listing in pages", 60, () => new PagedArchive()],
    ["a directory", 10, () => DirectoryArchive.open(temporaryDirectory())],
  ])(
    "loses nothing if minutes around or ahead of its position are merged: %s",
    async (_, numRuns, create) => {
      const packs = 60;
      const mergers = fc.array(
        fc.record({ moment: fc.nat(packs - 1), aheadMs: fc.integer({ min: -70, max: 100 }), spanMs: fc.nat(150) }),
        { minLength: 1, maxLength: 6 },
      );
      await fc.assert(
        fc.asyncProperty(mergers, async (drafts) => {
          const archive = create();
          // Crosses a full hour, where the next directory begins.
          await writeSmall(archive, packs, hourMs + 3_570_000, 2_500);
          const reader = new CaptureReader(archive, "c", all);
          const sequences: number[] = [];
          for await (const { pack: whole, position } of reader) {
            for (const { moment, aheadMs, spanMs } of drafts) {
              if (moment !== sequences.length) continue;
              const fromMs = position.capturedAtMs + aheadMs * 1_000;
              await compactCapture(archive, "c", { fromMs, toMs: fromMs + spanMs * 1_000 });
            }
            sequences.push(whole.sequence);
          }

          expect(sequences).toEqual(Array.from({ length: packs }, (_, i) => i));
          expect(reader.skipped).toEqual({ parts: 0, requests: 0 });
        }),
        { numRuns },
      );
    },
    240_000,
  );

  it("keeps the order of requests of one millisecond in different objects", async () => {
    const archive = new MemoryArchive();
    // The object of the later pack comes first by name.
    for (const [sequence, lastMs] of [
      [5, 0],
      [1, 10],
    ]) {
      const requests = [0, lastMs].map((ms) => ({ capturedAtMs: hourMs + ms, id: "" }));
      const whole = pack({ sequence, requests });
      await writeCapture(archive, "c", [{ pack: whole, requests: whole.requests }]);
    }

    const positions = (await read(archive, all)).map(({ position }) => position);

    expect(positions.map(({ sequence, index }) => [sequence, index])).toEqual([
      [1, 0],
      [5, 0],
      [5, 1],
      [1, 1],
    ]);
  });

  it("opens each object only when its first request is next, and only those in the range", async () => {
    const { archive } = await manySmall(40);
    const names = await namesOf(archive);
    const reader = new CaptureReader(archive, "c", { fromMs: hourMs + 10_000, toMs: hourMs + 20_000 });
    const readsByRequest: number[] = [];
    for await (const _ of reader) readsByRequest.push(archive.reads.length);

    expect(readsByRequest).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(archive.reads).toEqual(names.slice(10, 20));
  });

  it("skips, names and counts a broken object", async () => {
    const { archive } = await manySmall(5);
    const names = await namesOf(archive);
    const broken = Buffer.from(archive.objects.get(names[2]) as Uint8Array);
    broken[broken.length - 1] ^= 1;
    archive.objects.set(names[2], broken);
    const parts: SkippedPart[] = [];
    const reader = new CaptureReader(archive, "c", { ...all, onSkip: (part) => parts.push(part) });

    const entries = await entriesOf(reader);

    expect(entries.map(({ pack: { sequence } }) => sequence)).toEqual([0, 1, 3, 4]);
    expect(parts).toEqual([{ name: names[2], requests: 1, reason: expect.stringContaining("checksum") }]);
    expect(reader.skipped).toEqual({ parts: 1, requests: 1 });
  });

  it("skips a broken pack and reads the other packs of its object", async () => {
    const archive = new MemoryArchive();
    const packs = [0, 1, 2].map((i) => storedOf(pack({ sequence: i, requests: [{ capturedAtMs: hourMs + i }] })));
    const broken = { ...packs[1], content: Buffer.from(packs[1].content) };
    broken.content[0] = 99;
    const { object } = await putCaptureObject(archive, "c", [packs[0], broken, packs[2]]);
    const parts: SkippedPart[] = [];

    const entries = await read(archive, { ...all, onSkip: (part) => parts.push(part) });

    expect(entries.map(({ pack: { sequence } }) => sequence)).toEqual([0, 2]);
    expect(parts).toEqual([
      { name: object.name, requests: 1, reason: expect.stringContaining("a pack in it is broken") },
    ]);
  });

  it.each([
    ["fewer requests than its name states", { firstMs: hourMs, lastMs: hourMs, requests: 2 }],
    ["earlier requests than its name states", { firstMs: hourMs + 1, lastMs: hourMs + 1, requests: 1 }],
  ])("skips an object with %s", async (_, bounds) => {
    const archive = new MemoryArchive();
    const stored = storedOf(pack({ requests: [{ capturedAtMs: hourMs }] }));
    await archive.put(toObjectName("c", bounds, "0".repeat(32)), sealCaptureObject([stored]));
    const reader = new CaptureReader(archive, "c", all);

    expect(await entriesOf(reader)).toEqual([]);
    expect(reader.skipped).toEqual({ parts: 1, requests: bounds.requests });
  });

  it("skips a pack whose times differ from those that its object states", async () => {
    const archive = new MemoryArchive();
    const stored = storedOf(pack({ requests: [{ capturedAtMs: hourMs }] }));
    await putCaptureObject(archive, "c", [{ ...stored, firstMs: hourMs + 5, lastMs: hourMs + 5 }]);
    const reader = new CaptureReader(archive, "c", all);

    expect(await entriesOf(reader)).toEqual([]);
    expect(reader.skipped).toEqual({ parts: 1, requests: 1 });
  });

  it("names an object that was deleted during the reading", async () => {
    const { archive } = await manySmall(3);
    const [, second] = await namesOf(archive);
    const parts: SkippedPart[] = [];
    const entries: CaptureEntry[] = [];
    for await (const entry of new CaptureReader(archive, "c", { ...all, onSkip: (part) => parts.push(part) })) {
      archive.objects.delete(second);
      entries.push(entry);
    }

    expect(entries).toHaveLength(2);
    expect(parts).toEqual([{ name: second, requests: 1, reason: expect.stringContaining("deleted") }]);
  });

  it("throws if the archive fails, and continues after the last request", async () => {
    const { archive } = await manySmall(5);
    const outage = new ArchiveError("UNAVAILABLE", "no");
    const failing = Object.assign(Object.create(archive) as MemoryArchive, {
      get: async (name: string) => {
        if (name === (await namesOf(archive))[3]) throw outage;
        return archive.get(name);
      },
    });
    const entries: CaptureEntry[] = [];
    const reading = async () => {
      for await (const entry of new CaptureReader(failing, "c", all)) entries.push(entry);
    };

    await expect(reading()).rejects.toBe(outage);

    const rest = await read(archive, { ...all, after: entries.at(-1)?.position });
    expect([...entries, ...rest].map(({ pack: { sequence } }) => sequence)).toEqual([0, 1, 2, 3, 4]);
  });

  it("respects its memory limit if many large objects overlap", async () => {
    const archive = new MemoryArchive();
    const body = Buffer.alloc(20_000, "b");
    for (let agent = 0; agent < 8; agent++) {
      const shares = Array.from({ length: 25 }, (_, i) => {
        const whole = pack({
          agent: `${agent}`,
          sequence: i,
          requests: [{ capturedAtMs: hourMs + i * 1_000 + agent, body, id: "" }],
        });
        return { pack: whole, requests: whole.requests };
      });
      await writeCapture(archive, "c", shares);
    }
    const reader = new CaptureReader(archive, "c", { ...all, maxHeldBytes: 400_000 });

    const entries = await entriesOf(reader);

    expect(entries).toHaveLength(200);
    expect(entries.map(({ position }) => position)).toEqual(
      entries.map(({ position }) => position).sort(comparePositions),
    );
    // The objects have 4 MB and 400 kB may be held: objects are read again, but not once per request.
    expect(archive.reads.length).toBeGreaterThan(8);
    expect(archive.reads.length).toBeLessThan(150);
    expect(reader.heldBytes).toBe(0);
    expect(reader.mostHeldBytes).toBeLessThan(400_000 + 8 * 20_200);
  });
});

describe("the index of a capture", () => {
  it("lists exactly the objects that reach into a range, without reading them", async () => {
    const archive = new MemoryArchive();
    for (const [firstMs, lastMs] of [
      [0, 60_000],
      [1, 59_998],
      [59_999, 59_999],
      [60_000, 61_000],
      [70_000, 70_000],
    ]) {
      const requests = [firstMs, lastMs].map((ms) => ({ capturedAtMs: hourMs + ms, id: "" }));
      const whole = pack({ sequence: firstMs, requests });
      await writeCapture(archive, "c", [{ pack: whole, requests: whole.requests }]);
    }
    const firsts = async (fromMs: number, toMs: number) => {
      const found: number[] = [];
      const range = { fromMs: hourMs + fromMs, toMs: hourMs + toMs };
      for await (const { firstMs } of listCapture(archive, "c", range)) found.push(firstMs - hourMs);
      return found;
    };

    expect(await firsts(59_999, 60_000)).toEqual([0, 59_999]);
    expect(await firsts(60_000, 70_000)).toEqual([0, 60_000]);
    expect(await firsts(60_001, 70_001)).toEqual([60_000, 70_000]);
    expect(await firsts(-10, 0)).toEqual([]);
    expect(await firsts(62_000, 62_000)).toEqual([]);
    expect(archive.reads).toEqual([]);
  });

  it("sums up a range from names alone", async () => {
    const { archive } = await manySmall(10);
    const bytes = [...archive.objects.values()].reduce((sum, object) => sum + object.length, 0);

    expect(await sumCapture(archive, "c", all)).toEqual({
      objects: 10,
      requests: 10,
      bytes,
      firstMs: hourMs,
      lastMs: hourMs + 9_000,
    });
    expect(await sumCapture(archive, "other", all)).toEqual({ objects: 0, requests: 0, bytes: 0 });
    expect(archive.reads).toEqual([]);
  });

  it("ignores names that are not objects of the capture", async () => {
    const { archive } = await manySmall(1);
    const [name] = await namesOf(archive);
    for (const other of ["c/notes.txt", name.replace("c/2026", "c/2025"), `${name}.bak`, name.replace("c/", "cc/")]) {
      await archive.put(other, Uint8Array.of(1));
    }

    expect((await sumCapture(archive, "c", all)).objects).toBe(1);
  });
});

const startMs = hourMs - 60_000;

function toPack({ agent, atMs, gapsMs, bodyBytes }: PackDraft, sequence: number): Pack {
  let capturedAtMs = startMs + atMs;
  const times = [capturedAtMs];
  for (const gapMs of gapsMs) {
    capturedAtMs += gapMs;
    times.push(capturedAtMs);
  }
  const body = Buffer.alloc(bodyBytes, agent);
  // Not in order: a clock can be set back, but not before the first request of the pack.
  const shuffled = [times[0], ...times.slice(1).reverse()];
  return pack({ agent, sequence, requests: shuffled.map((ms) => ({ capturedAtMs: ms, body, id: "" })) });
}

/** Plays a history; returns the numbers of the written packs. */
async function play(archive: MemoryArchive, packs: readonly Pack[], history: readonly Step[]): Promise<Set<number>> {
  const written = new Set<number>();
  for (const step of history) {
    if (step.do === "write") {
      const numbers = step.packs.filter((i) => i < packs.length);
      await writeCapture(
        archive,
        "c",
        numbers.map((i) => ({ pack: packs[i], requests: packs[i].requests })),
      );
      for (const i of numbers) written.add(i);
    } else {
      const range = { fromMs: startMs + step.fromMs, toMs: startMs + step.fromMs + step.spanMs };
      await compactCapture(dyingArchive(archive, step.callsLeft), "c", range).catch((error) => {
        if (error.message !== "died") throw error;
      });
    }
  }
  return written;
}

/** An archive that throws after a number of changes; each deleted object is one change. */
function dyingArchive(archive: MemoryArchive, callsLeft: number): MemoryArchive {
  let left = callsLeft;
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

function expectedPositions(packs: readonly Pack[], { fromMs, toMs }: typeof all): CapturePosition[] {
  return packs
    .flatMap(({ id, sequence, requests }) =>
      requests.map(({ capturedAtMs, index }) => ({ capturedAtMs, sequence, packId: id, index })),
    )
    .filter(({ capturedAtMs }) => capturedAtMs >= fromMs && capturedAtMs < toMs)
    .sort((a, b) => a.capturedAtMs - b.capturedAtMs || a.sequence - b.sequence || a.index - b.index);
}

/** Creates `count` objects with one request each, one second apart. */
async function manySmall(count: number) {
  const archive = new MemoryArchive();
  await writeSmall(archive, count, hourMs);
  return { archive };
}

/** Writes `count` objects with one request each. */
async function writeSmall(archive: Archive, count: number, fromMs: number, everyMs = 1_000): Promise<void> {
  for (let i = 0; i < count; i++) {
    const whole = pack({ sequence: i, requests: [{ capturedAtMs: fromMs + i * everyMs, id: "" }] });
    await writeCapture(archive, "c", [{ pack: whole, requests: whole.requests }]);
  }
}

/** Lists page by page as S3 does: each page shows the bucket at that moment. */
class PagedArchive extends MemoryArchive {
  override async *list(range: ArchiveRange): AsyncGenerator<ArchiveEntry> {
    let from = range.from ?? "";
    for (;;) {
      const page: ArchiveEntry[] = [];
      for await (const entry of super.list({ ...range, from, max: 7 })) page.push(entry);
      yield* page;
      const last = page.at(-1);
      if (!last) return;
      from = `${last.name}!`;
    }
  }
}

function storedOf(whole: Pack) {
  return toStoredPack(encodeShare(whole, whole.requests, 0), whole.requests);
}

async function read(archive: MemoryArchive, options: CaptureReaderOptions): Promise<CaptureEntry[]> {
  return entriesOf(new CaptureReader(archive, "c", options));
}

async function entriesOf(reader: CaptureReader): Promise<CaptureEntry[]> {
  const entries: CaptureEntry[] = [];
  for await (const entry of reader) entries.push(entry);
  return entries;
}
