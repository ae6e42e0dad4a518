import { describe, expect, it } from "vitest";
import {
  type Archive,
  type ArchiveEntry,
  type ArchiveRange,
  assertName,
  isInRange,
  maxObjectBytes,
  type OpenArchive,
  type PutResult,
  toConflict,
} from "../../relay/archive/port.ts";

/** What an emulator cannot do. */
export interface ArchiveContractLimits {
  /** Reason why objects can be overwritten. */
  readonly overwrites?: string;
}

/** The contract of every archive. */
export function describeArchive(
  name: string,
  open: () => Promise<OpenArchive>,
  limits: ArchiveContractLimits = {},
): void {
  const on = (work: (archive: Archive) => Promise<void>) => async () => {
    const archive = await open();
    try {
      await work(archive);
    } finally {
      archive.close();
    }
  };

  // Each object is synced to the disk, which may be slow.
  describe(name, { timeout: 240_000 }, () => {
    it(
      "returns every byte that was put",
      on(async (archive) => {
        const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);

        await archive.put("2026/a.b-c_d=e~f", bytes);

        expect(Buffer.from((await archive.get("2026/a.b-c_d=e~f")) as Uint8Array)).toEqual(Buffer.from(bytes));
      }),
    );

    it(
      "stores an empty object and an object of 9 MiB",
      on(async (archive) => {
        const large = Buffer.alloc(9 * 1024 * 1024, "spoa");

        await archive.put("empty", new Uint8Array());
        await archive.put("large", large);

        expect((await archive.get("empty"))?.length).toBe(0);
        expect(Buffer.compare((await archive.get("large")) as Uint8Array, large)).toBe(0);
      }),
    );

    it(
      "returns undefined for a name that was not put",
      on(async (archive) => {
        await archive.put("a/b", Uint8Array.of(1));

        expect(await archive.get("a/c")).toBeUndefined();
        expect(await archive.get("a")).toBeUndefined();
        expect(await archive.get("a/b/c")).toBeUndefined();
      }),
    );

    it(
      "accepts the same bytes under the same name again",
      on(async (archive) => {
        const first = await archive.put("a", Uint8Array.of(1, 2));
        const second = await archive.put("a", Uint8Array.of(1, 2));

        // An emulator that overwrites cannot tell that an object existed.
        expect([first, second]).toEqual(["stored", limits.overwrites ? "stored" : "existing"]);
        expect(await entriesOf(archive)).toEqual([{ name: "a", bytes: 2 }]);
      }),
    );

    it.skipIf(limits.overwrites)(
      `refuses other bytes under an existing name${limits.overwrites ? `: ${limits.overwrites}` : ""}`,
      on(async (archive) => {
        await archive.put("a", Uint8Array.of(1));

        await expect(archive.put("a", Uint8Array.of(2))).rejects.toMatchObject({
          name: "ArchiveError",
          code: "CONFLICT",
        });
        expect(await archive.get("a")).toEqual(Buffer.of(1));
      }),
    );

    it.skipIf(limits.overwrites)(
      "stores exactly one of several concurrent puts of other bytes under one name",
      on(async (archive) => {
        const puts = await Promise.allSettled(
          Array.from({ length: 8 }, (_, i) => archive.put("a/b/c", Buffer.alloc(1_000, i))),
        );

        const winner = puts.findIndex(({ status }) => status === "fulfilled");
        expect(puts.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        expect(Buffer.compare((await archive.get("a/b/c")) as Uint8Array, Buffer.alloc(1_000, winner))).toBe(0);
      }),
    );

    it(
      "refuses an object that is too big",
      on(async (archive) => {
        await expect(archive.put("a", Buffer.alloc(maxObjectBytes + 1))).rejects.toMatchObject({ code: "TOO_BIG" });
        expect(await archive.get("a")).toBeUndefined();
      }),
    );

    it.each(["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".a", "a b", "ä", "a\\b", "a".repeat(201)])(
      "refuses the name %j",
      (bad) =>
        on(async (archive) => {
          const refused = { name: "ArchiveError", code: "BAD_NAME" };
          await expect(archive.put(bad, Uint8Array.of(1))).rejects.toMatchObject(refused);
          await expect(archive.get(bad)).rejects.toMatchObject(refused);
          await expect(archive.delete(["a", bad])).rejects.toMatchObject(refused);
        })(),
    );

    it(
      "lists names with their sizes, sorted by the whole name",
      on(async (archive) => {
        const names = ["a-", "a-b/x", "a.b", "a/b", "a/c/d", "a/c=d", "a0", "b/a", "b~", "c"];
        for (const [i, each] of names.toReversed().entries()) await archive.put(each, Buffer.alloc(i));

        expect(await entriesOf(archive)).toEqual(names.map((each, i) => ({ name: each, bytes: names.length - 1 - i })));
      }),
    );

    it(
      "lists from a name, before a name, below a prefix, and at most as many as asked for",
      on(async (archive) => {
        const names = ["a/1/x", "a/2/x", "a/2/y", "a/3/x", "ab/1", "b/1"];
        for (const each of names) await archive.put(each, Uint8Array.of(1));
        const bounds = [
          "",
          "0",
          "a",
          "a/",
          "a/2",
          "a/2/",
          "a/2/x",
          "a/2/x0",
          "a/2/y",
          "a/2/~",
          "a/3/x",
          "ab",
          "c",
          "~",
        ];

        for (const prefix of ["", "a", "a/2", "c"]) {
          for (const from of bounds) {
            for (const until of [undefined, ...bounds]) {
              for (const max of [undefined, 0, 2]) {
                const range = {
                  prefix,
                  from,
                  ...(until !== undefined && { until }),
                  ...(max !== undefined && { max }),
                };
                const expected = names.filter(
                  (each) => each.startsWith(prefix) && each >= from && (until === undefined || each < until),
                );
                expect(await namesOf(archive, range), JSON.stringify(range)).toEqual(expected.slice(0, max));
              }
            }
          }
        }
      }),
    );

    it(
      "lists more names than one page of S3",
      on(async (archive) => {
        const names = Array.from({ length: 1_100 }, (_, i) => `p/${String(i).padStart(4, "0")}`);
        for (let start = 0; start < names.length; start += 50) {
          await Promise.all(names.slice(start, start + 50).map((each) => archive.put(each, Uint8Array.of(1))));
        }

        expect(await namesOf(archive, { prefix: "p/" })).toEqual(names);
        expect(await namesOf(archive, { prefix: "p/", from: "p/0050", max: 1_020 })).toEqual(names.slice(50, 1_070));

        await archive.delete(names);
        expect(await namesOf(archive)).toEqual([]);
      }),
    );

    it(
      "deletes the given names and ignores missing ones",
      on(async (archive) => {
        for (const each of ["a/b/1", "a/b/2", "a/c"]) await archive.put(each, Uint8Array.of(1));

        await archive.delete(["a/b/1", "a/b", "a/x", "y/z"]);
        await archive.delete([]);

        expect(await namesOf(archive)).toEqual(["a/b/2", "a/c"]);
        expect(await archive.get("a/b/1")).toBeUndefined();
      }),
    );

    it(
      "accepts other bytes under a deleted name",
      on(async (archive) => {
        await archive.put("a/b", Uint8Array.of(1));
        await archive.delete(["a/b"]);
        await archive.put("a/b", Uint8Array.of(2));

        expect(Buffer.from((await archive.get("a/b")) as Uint8Array)).toEqual(Buffer.of(2));
      }),
    );
  });
}

/** An archive in memory that implements the contract and nothing more. */
export class MemoryArchive implements OpenArchive {
  readonly objects = new Map<string, Uint8Array>();
  /** Names that `get` was called with, in order. */
  readonly reads: string[] = [];

  async put(name: string, bytes: Uint8Array): Promise<PutResult> {
    assertName(name);
    const existing = this.objects.get(name);
    if (existing && Buffer.compare(existing, bytes) !== 0) throw toConflict(name);
    this.objects.set(name, Buffer.from(bytes));
    return existing ? "existing" : "stored";
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    assertName(name);
    this.reads.push(name);
    return this.objects.get(name);
  }

  async *list(range: ArchiveRange): AsyncGenerator<ArchiveEntry> {
    const names = [...this.objects.keys()].filter((name) => isInRange(name, range)).sort();
    for (const name of names.slice(0, range.max)) {
      const object = this.objects.get(name);
      if (object) yield { name, bytes: object.length };
    }
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(assertName);
    for (const name of names) this.objects.delete(name);
  }

  close(): void {}
}

async function entriesOf(archive: Archive, range: ArchiveRange = { prefix: "" }): Promise<ArchiveEntry[]> {
  const entries: ArchiveEntry[] = [];
  for await (const entry of archive.list(range)) entries.push(entry);
  return entries;
}

export async function namesOf(archive: Archive, range: ArchiveRange = { prefix: "" }): Promise<string[]> {
  return (await entriesOf(archive, range)).map(({ name }) => name);
}
