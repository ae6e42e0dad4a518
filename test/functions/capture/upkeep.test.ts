import { describe, expect, it } from "vitest";
import { CaptureUpkeep } from "../../../functions/capture/upkeep.ts";
import { ArchiveError, type OpenArchive } from "../../../relay/archive/port.ts";
import { writeCapture } from "../../../relay/capture/capture-writer.ts";
import type { CaptureConfig } from "../../../relay/config/config.ts";
import { MemoryArchive, namesOf } from "../../contract/archive-contract.ts";
import { captureConfig, readCapture } from "../../support/data/captures.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { pack } from "../../support/data/packs.ts";

const noonMs = Date.UTC(2026, 10, 22, 12);
const minuteMs = 60_000;
const dayMs = 86_400_000;

describe("the upkeep of captures", () => {
  it("merges past minutes, and leaves the current one alone", async () => {
    const bench = new UpkeepBench();
    for (let second = -179; second <= 0; second++) await bench.capture(noonMs + second * 1_000);
    await bench.upkeep.run();

    const objects = await namesOf(bench.archive);
    expect(objects).toHaveLength(2 + 61);
    expect(await readCapture(bench.archive, "all")).toHaveLength(180);
  });

  it("reads nothing while no new packs arrive", async () => {
    const bench = new UpkeepBench();
    for (let second = 0; second < 600; second += 7) await bench.capture(noonMs - second * 1_000);
    for (let minute = 0; minute < 3; minute++) await bench.runAMinuteLater();
    const names = await namesOf(bench.archive);
    bench.archive.reads.length = 0;
    for (let minute = 0; minute < 60; minute++) await bench.runAMinuteLater();

    expect(await namesOf(bench.archive)).toEqual(names);
    expect(bench.archive.reads).toEqual([]);
  });

  it("does not read merged objects again that are small only because they compress well", async () => {
    const bench = new UpkeepBench();
    const body = Buffer.alloc(900_000, "the same again and again");
    for (let pack = 0; pack < 90; pack++) await bench.capture(noonMs - 300_000 + pack * 100, body);
    for (let minute = 0; minute < 2; minute++) await bench.runAMinuteLater();
    bench.archive.reads.length = 0;
    for (let minute = 0; minute < 5; minute++) await bench.runAMinuteLater();

    expect(bench.archive.reads).toEqual([]);
    await bench.capture(noonMs - 291_000);
    await bench.runAMinuteLater();
    expect(await namesOf(bench.archive)).toHaveLength(3);
    expect(await readCapture(bench.archive, "all")).toHaveLength(91);
  });

  it("merges packs that arrived days late within six hours", async () => {
    const bench = new UpkeepBench({ keepMs: 30 * dayMs });
    for (let second = 0; second < 30; second++) await bench.capture(noonMs - 14 * dayMs + second * 1_000);
    for (let minute = 0; minute < 360; minute++) await bench.runAMinuteLater();

    expect(await namesOf(bench.archive)).toHaveLength(1);
    expect(await readCapture(bench.archive, "all")).toHaveLength(30);
  });

  it("deletes expired objects from a directory, and leaves a bucket to its lifecycle rules", async () => {
    const bucket = { kind: "s3", bucket: "kept", prefix: "" } as const;
    const [directory, s3] = [new UpkeepBench({ keepMs: dayMs }), new UpkeepBench({ keepMs: dayMs, store: bucket })];
    for (const bench of [directory, s3]) {
      await bench.capture(noonMs - dayMs - 1);
      await bench.capture(noonMs - dayMs);
      await bench.upkeep.run();
    }

    expect(await namesOf(directory.archive)).toHaveLength(1);
    expect(await namesOf(s3.archive)).toHaveLength(2);
  });

  it("logs a broken object once an hour, and merges the others", async () => {
    const bench = new UpkeepBench();
    for (let second = 0; second < 10; second++) await bench.capture(noonMs - 300_000 + second * 1_000);
    const [name] = await namesOf(bench.archive);
    await bench.archive.delete([name]);
    await bench.archive.put(name, Buffer.from("broken"));
    for (let minute = 0; minute < 5; minute++) await bench.runAMinuteLater();

    expect(bench.log.lines).toMatchObject([{ event: "capture-broken", capture: "all", object: name, requests: 1 }]);
    expect(await namesOf(bench.archive)).toHaveLength(2);
  });

  it("maintains one capture while the archive of another is away, and logs that", async () => {
    const away = { list: () => failing() } as unknown as OpenArchive;
    const bench = new UpkeepBench({}, away);
    for (let second = 0; second < 10; second++) await bench.capture(noonMs - 300_000 + second * 1_000);

    await expect(bench.upkeep.run()).rejects.toThrow("the disk is gone");
    bench.upkeep.start();
    await bench.upkeep.stop();
    expect(await namesOf(bench.archive)).toHaveLength(1);
    expect(bench.log.lines).toMatchObject([{ event: "upkeep-failed", reason: "the disk is gone" }]);
  });
});

class UpkeepBench {
  nowMs = noonMs;
  readonly log = new LogLines();
  readonly archive = new MemoryArchive();
  readonly upkeep: CaptureUpkeep;
  #sequence = 0;

  /** @param other the archive of another capture, which is maintained first */
  constructor(changes: Partial<CaptureConfig> = {}, other?: OpenArchive) {
    const archive = Object.assign(this.archive, { close() {} });
    this.upkeep = new CaptureUpkeep({
      captures: [...(other ? [captureConfig({ name: "other" })] : []), captureConfig(changes)],
      archives: new Map([["all", archive], ...(other ? [["other", other] as const] : [])]),
      log: this.log.log,
      now: () => this.nowMs,
    });
  }

  async capture(capturedAtMs: number, body: Uint8Array = new Uint8Array()): Promise<void> {
    const written = pack({ sequence: ++this.#sequence, requests: [{ capturedAtMs, body }] });
    await writeCapture(this.archive, "all", [{ pack: written, requests: written.requests }]);
  }

  async runAMinuteLater(): Promise<void> {
    this.nowMs += minuteMs;
    await this.upkeep.run();
  }
}

// biome-ignore lint/correctness/useYield: it fails before it lists anything.
async function* failing(): AsyncGenerator<never> {
  throw new ArchiveError("UNAVAILABLE", "the disk is gone");
}
