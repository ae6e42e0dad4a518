import { describe, expect, it } from "vitest";
import { compactCapture } from "../../../relay/capture/capture-compaction.ts";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { findPresent } from "../../../relay/capture/present-requests.ts";
import { toPacks } from "../../../relay/capture/request-packs.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { expectedRequest } from "../../support/data/captured-requests.ts";

const startMs = Date.UTC(2026, 10, 22, 17);
const all = { fromMs: 0, toMs: Number.POSITIVE_INFINITY };

describe("looking for requests in a capture", () => {
  it("finds those with the same time and one of the ids, also after their objects were merged", async () => {
    const archive = await archiveOf(["a", "b", "c"]);
    const sought = [seek("a", 0), seek("x", 1, "b"), seek("c", 0), seek("d", 2)];

    expect([...(await findPresent(archive, "shop", sought, new Set()))]).toEqual(sought.slice(0, 2));
    await compactCapture(archive, "shop", all);
    expect([...(await findPresent(archive, "shop", sought, new Set()))]).toEqual(sought.slice(0, 2));
  });

  it("takes no request for another one with the same time and id", async () => {
    const archive = await archiveOf(["a"]);
    const other = { ...seek("a", 0), request: expectedRequest({ path: "/other", capturedAtMs: startMs }, 0) };

    expect(await findPresent(archive, "shop", [other], new Set())).toEqual(new Set());
  });

  it("reads only objects that contain one of the times, and not those that are known", async () => {
    const archive = await archiveOf(["a", "b", "c", "d"]);
    const names = await namesOf(archive);
    archive.reads.length = 0;
    await findPresent(archive, "shop", [seek("a", 0), seek("c", 2), seek("d", 3)], new Set([names[3]]));

    expect(archive.reads).toEqual([names[0], names[2]]);
  });

  it("finds requests whose objects are merged between listing and reading", async () => {
    const archive = await archiveOf(["a", "b"]);
    const merging = Object.create(archive, {
      get: {
        value: async (name: string) => {
          await compactCapture(archive, "shop", all);
          return archive.get(name);
        },
      },
    });

    expect((await findPresent(merging, "shop", [seek("a", 0), seek("b", 1)], new Set())).size).toBe(2);
  });

  it("takes broken objects for empty ones", async () => {
    const archive = await archiveOf(["a", "b"]);
    const [name] = await namesOf(archive);
    archive.objects.get(name)?.fill(0xff, 30);

    expect((await findPresent(archive, "shop", [seek("a", 0), seek("b", 1)], new Set())).size).toBe(1);
  });
});

/** A capture with an object for each id, one second after the other. */
async function archiveOf(ids: readonly string[]): Promise<MemoryArchive> {
  const archive = new MemoryArchive();
  for (const [second, id] of ids.entries()) {
    const [pack] = toPacks([seek(id, second).request], { agent: "import", sequence: 1 });
    await writeCapture(archive, "shop", [{ pack, requests: pack.requests }]);
  }
  return archive;
}

function seek(id: string, second: number, ...otherIds: readonly string[]) {
  return { request: expectedRequest({ id, capturedAtMs: startMs + second * 1_000 }, 0), ids: [id, ...otherIds] };
}
