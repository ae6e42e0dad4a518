import { describe, expect, it } from "vitest";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { expireCapture } from "../../../relay/capture/expiry.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { pack } from "../../support/data/packs.ts";

const hourMs = Date.UTC(2026, 10, 22, 17);

describe("expiring a capture", () => {
  it("deletes objects that end before a time, and keeps the others", async () => {
    const archive = await archiveOf([0, 10], [20, 50], [30, 29_999], [40_000, 40_000]);
    const names = await namesOf(archive);

    const expired = await expireCapture(archive, "c", { beforeMs: hourMs + 29_999 });

    expect(expired).toMatchObject({ objects: 2, requests: 4, more: false });
    expect(expired.bytes).toBeGreaterThan(0);
    expect(await namesOf(archive)).toEqual(names.slice(2));
  });

  it("deletes at most `maxObjects` in a call, the oldest first", async () => {
    const archive = await archiveOf([0, 1], [2, 3], [4, 5]);
    const names = await namesOf(archive);
    const options = { beforeMs: hourMs + 60_000, maxObjects: 2 };

    expect(await expireCapture(archive, "c", options)).toMatchObject({ objects: 2, more: true });
    expect(await namesOf(archive)).toEqual(names.slice(2));
    expect(await expireCapture(archive, "c", options)).toMatchObject({ objects: 1, more: false });
    expect(await expireCapture(archive, "c", options)).toEqual({ objects: 0, requests: 0, bytes: 0, more: false });
  });

  it("keeps other captures and foreign files", async () => {
    const archive = await archiveOf([0, 1]);
    await archive.put("c2/2026/notes", Uint8Array.of(1));
    await archive.put("c/2026/11/22/17/notes", Uint8Array.of(1));

    await expireCapture(archive, "c", { beforeMs: hourMs + 60_000 });

    expect(await namesOf(archive)).toEqual(["c/2026/11/22/17/notes", "c2/2026/notes"]);
  });
});

async function archiveOf(...spans: readonly (readonly [number, number])[]): Promise<MemoryArchive> {
  const archive = new MemoryArchive();
  for (const [i, span] of spans.entries()) {
    const each = pack({ sequence: i, requests: span.map((ms) => ({ capturedAtMs: hourMs + ms, id: "" })) });
    await writeCapture(archive, "c", [{ pack: each, requests: each.requests }]);
  }
  return archive;
}
