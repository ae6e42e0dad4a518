import { describe, expect, it } from "vitest";
import { openCaptureObject, type StoredPack } from "../../../relay/capture/capture-object.ts";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import { type CaptureObject, maxCaptureMs } from "../../../relay/capture/object-name.ts";
import { decodePack, encodeShare, type Pack } from "../../../relay/pack/pack.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { pack } from "../../support/data/packs.ts";

const hourMs = Date.UTC(2026, 10, 22, 17);

describe("writing a capture", () => {
  it("writes the packs of a batch unchanged into one object", async () => {
    const archive = new MemoryArchive();
    const packs = [packAt(20, 5), packAt(10, 900), packAt(30)];

    const written = await writeCapture(archive, "shop", packs.map(whole));

    const [object] = written.objects;
    expect(written).toEqual({ objects: [object], requests: 5, existing: 0, refused: 0 });
    expect(object).toMatchObject({ firstMs: hourMs + 10, lastMs: hourMs + 910, requests: 5 });
    expect(object.bytes).toBe(archive.objects.get(object.name)?.length);
    expect(await namesOf(archive)).toEqual([object.name]);
    expect(contentsOf(archive, object)).toEqual(
      [packs[1], packs[0], packs[2]].map(({ requests, ...rest }) => encodeShare({ ...rest, requests }, requests, 0)),
    );
  });

  it("writes nothing if the same batch is written again in another order", async () => {
    const archive = new MemoryArchive();
    const packs = [packAt(20), packAt(10), packAt(10, 3)];
    await writeCapture(archive, "c", packs.map(whole));
    const names = await namesOf(archive);

    const again = await writeCapture(archive, "c", [...packs.toReversed(), packs[0]].map(whole));

    expect(await namesOf(archive)).toEqual(names);
    expect(again.existing).toBe(again.requests);
  });

  it("accepts an existing object with the same packs compressed differently", async () => {
    const archive = new MemoryArchive();
    const [object] = (await writeCapture(archive, "c", [whole(packAt(0))])).objects;
    archive.objects.set(object.name, Buffer.from("the same, compressed by another version"));

    expect(await writeCapture(archive, "c", [whole(packAt(0))])).toMatchObject({ objects: [object], existing: 1 });
  });

  it("keeps the ids and indexes of requests in a share of a pack", async () => {
    const archive = new MemoryArchive();
    const four = packAt(0, 1, 1, 1);

    const written = await writeCapture(archive, "c", [{ pack: four, requests: [four.requests[1], four.requests[3]] }]);

    const [content] = contentsOf(archive, written.objects[0]);
    const share = decodePack(content) as Pack;
    expect(share.requests.map(({ id, index }) => [id, index])).toEqual([
      [`${four.id}-1`, 1],
      [`${four.id}-3`, 3],
    ]);
  });

  it("puts at most a minute into an object, and splits a longer pack", async () => {
    const archive = new MemoryArchive();
    const long = packAt(0, 30_000, 30_000, 1, 120_000);
    const short = packAt(60_000);

    const { objects } = await writeCapture(archive, "c", [long, short].map(whole));

    expect(objects.map(({ firstMs, lastMs, requests }) => [firstMs - hourMs, lastMs - hourMs, requests])).toEqual([
      [0, 60_000, 4],
      [60_001, 60_001, 1],
      [180_001, 180_001, 1],
    ]);
  });

  it("puts at most 8 MiB into an object", async () => {
    const archive = new MemoryArchive();
    const body = Buffer.alloc(300_000, "b");
    const packs = Array.from({ length: 20 }, (_, i) =>
      pack({ sequence: i, requests: [1, 2, 3].map((ms) => ({ capturedAtMs: hourMs + ms, body, id: "" })) }),
    );

    const { objects, requests } = await writeCapture(archive, "c", packs.map(whole));

    expect(requests).toBe(60);
    expect(objects).toHaveLength(3);
    for (const object of objects) expect(sumOf(contentsOf(archive, object))).toBeLessThan(8 * 1024 * 1024);
  });

  it("refuses and counts requests captured after the year 9999", async () => {
    const archive = new MemoryArchive();
    const requests = [hourMs, maxCaptureMs, maxCaptureMs + 1].map((capturedAtMs) => ({ capturedAtMs, id: "" }));

    const written = await writeCapture(archive, "c", [whole(pack({ requests }))]);

    expect(written).toMatchObject({ requests: 2, refused: 1 });
  });

  it("writes no object without requests", async () => {
    const archive = new MemoryArchive();
    const none = { objects: [], requests: 0, existing: 0, refused: 0 };

    expect(await writeCapture(archive, "c", [])).toEqual(none);
    expect(await writeCapture(archive, "c", [{ pack: packAt(0), requests: [] }])).toEqual(none);
    expect(archive.objects.size).toBe(0);
  });
});

/** A pack with a request at this time, and further requests after these gaps. */
function packAt(ms: number, ...gapsMs: number[]): Pack {
  let capturedAtMs = hourMs + ms;
  const requests = [{ capturedAtMs, id: "" }];
  for (const gapMs of gapsMs) {
    capturedAtMs += gapMs;
    requests.push({ capturedAtMs, id: "" });
  }
  return pack({ sequence: ms, requests });
}

function whole(each: Pack) {
  return { pack: each, requests: each.requests };
}

function contentsOf(archive: MemoryArchive, { name }: CaptureObject): Uint8Array[] {
  const packs = openCaptureObject(archive.objects.get(name) as Uint8Array) as readonly StoredPack[];
  return packs.map(({ content }) => content);
}

function sumOf(contents: readonly Uint8Array[]): number {
  return contents.reduce((sum, { length }) => sum + length, 0);
}
