import { describe, expect, it, onTestFinished, vi } from "vitest";
import { CaptureSink } from "../../../functions/capture/sink.ts";
import { createFanOut } from "../../../functions/fanout.ts";
import { DirectoryArchive } from "../../../relay/archive/directory.ts";
import { ArchiveError } from "../../../relay/archive/port.ts";
import type { CaptureConfig } from "../../../relay/config/config.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pattern } from "../../../relay/rules/pattern.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { settledIndexes } from "../../../relay/state/fate-sheet.ts";
import { invoke } from "../../support/benches/replay-bench.ts";
import { until } from "../../support/clocks/until.ts";
import { captureConfig, MoodyArchive, readCapture } from "../../support/data/captures.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { delivery, packIn, packMessage, requests } from "../../support/data/packs.ts";
import { target } from "../../support/data/targets.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("fan-out with captures", () => {
  it("stores the packs of a batch as one object, each with its id and its indexes", async () => {
    const bench = new CaptureBench([captureConfig()]);
    const sent = [1, 2, 3].map((sequence) => packMessage({ agent: "edge~1", sequence, requests: requests(2) }));
    const failed = await bench.fanOut(...sent);

    const entries = await readCapture(bench.archive, "all");
    expect(failed).toEqual([]);
    expect(bench.archive.puts).toBe(1);
    expect(entries.map(({ request }) => request.id)).toEqual(
      sent.flatMap((message) => [0, 1].map((index) => `${packIn(message).id}-${index}`)),
    );
    expect(await bench.totals()).toEqual({
      a: { enqueued: 6 },
      "capture/all": { enqueued: 6, captured: 6 },
    });
  });

  it("stores the requests that a capture selects, and records why it skips the rest", async () => {
    const bench = new CaptureBench([
      captureConfig({ name: "posts", when: { methods: ["POST"] } }),
      captureConfig({ name: "half", sample: { fraction: 0.5 } }),
      captureConfig({ name: "none", when: { methods: ["PUT"] } }),
    ]);
    const parts = requests(200).map((part, i) => ({ ...part, method: i < 50 ? "POST" : "GET" }));
    await bench.fanOut(packMessage({ requests: parts }));

    const posts = await readCapture(bench.archive, "posts");
    const half = await readCapture(bench.archive, "half");
    expect(posts.map(({ request }) => request.index)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(Math.abs(half.length - 100)).toBeLessThan(40);
    expect(await readCapture(bench.archive, "none")).toEqual([]);
    expect(await bench.totals()).toEqual({
      a: { enqueued: 200 },
      "capture/posts": { enqueued: 200, filtered: 150, captured: 50 },
      "capture/half": { enqueued: 200, sampledOut: 200 - half.length, captured: half.length },
      "capture/none": { enqueued: 200, filtered: 200 },
    });
  });

  it("sends targets their share while the archive is away, and later stores the capture's share once", async () => {
    const bench = new CaptureBench([captureConfig({ when: { path: new Pattern("[02468]$") } })]);
    bench.archive.mood = "away";
    const failed = await bench.fanOut(packMessage({ requests: requests(10) }));
    const meanwhile = await bench.totals();
    const [waiting] = await bench.waiting();
    const entries = await readCapture(bench.archive, "all");
    bench.archive.mood = "well";
    bench.nowMs += 60_000;
    await bench.fanOutWaiting();

    expect(failed).toEqual([]);
    expect(entries).toEqual([]);
    expect(packIn(waiting).requests.map(({ index }) => index)).toEqual([0, 2, 4, 6, 8]);
    expect(JSON.parse(waiting.body)).toMatchObject({ count: 5, uncaptured: { captures: ["all"], tries: 1 } });
    expect(meanwhile).toEqual({ a: { enqueued: 10 }, "capture/all": { enqueued: 10, filtered: 5 } });
    expect((await readCapture(bench.archive, "all")).map(({ request }) => request.index)).toEqual([0, 2, 4, 6, 8]);
    expect(await bench.totals()).toEqual({
      a: { enqueued: 10 },
      "capture/all": { enqueued: 10, filtered: 5, captured: 5 },
    });
    expect(await bench.received("a")).toHaveLength(1);
    expect(await bench.waiting()).toEqual([]);
    expect(bench.log.events).toEqual(["capture-away", "capture-back"]);
  });

  it("logs once that an archive is away, tries it once a pause, and counts the failed attempts of packs", async () => {
    const bench = new CaptureBench([captureConfig()]);
    bench.archive.mood = "away";
    for (let sequence = 1; sequence <= 20; sequence++) await bench.fanOut(packMessage({ sequence }));
    const asked = bench.archive.puts;
    for (let i = 0; i < 3; i++) await bench.fanOutWaiting();

    expect(asked).toBe(1);
    expect(bench.log.events).toEqual(["capture-away"]);
    expect(bench.log.lines[0]).toMatchObject({ capture: "all", reason: "the disk is gone" });
    const tries = (await bench.waiting()).map(({ body }) => JSON.parse(body).uncaptured.tries);
    expect(new Set(tries)).toEqual(new Set([4]));
    expect((await bench.totals()).a).toEqual({ enqueued: 20 });
  });

  it("does not wait for an archive that hangs, and stores its requests once when it recovers", async () => {
    const bench = new CaptureBench([captureConfig()], 50);
    bench.archive.mood = "hangs";
    await bench.fanOut(packMessage({ sequence: 1, requests: requests(2) }));
    await bench.fanOut(packMessage({ sequence: 2, requests: requests(2) }));
    const asked = bench.archive.puts;
    bench.archive.release();
    await until(async () => {
      // Repeated: on a slow machine even a healthy archive may not answer within 50 ms.
      bench.nowMs += 60_000;
      await bench.fanOutWaiting();
      return (await bench.totals())["capture/all"].captured === 4;
    });

    expect(asked).toBe(1);
    expect(await readCapture(bench.archive, "all")).toHaveLength(4);
    expect(bench.log.lines[0]).toMatchObject({ event: "capture-away", reason: "no answer within 50 ms" });
  });

  it("counts and stores a pack once if it is delivered twice", async () => {
    const bench = new CaptureBench([captureConfig()]);
    const sent = packMessage({ requests: requests(4) });
    await bench.fanOut(sent);
    await bench.fanOut(sent);

    expect(await readCapture(bench.archive, "all")).toHaveLength(4);
    expect((await bench.totals())["capture/all"]).toEqual({ enqueued: 4, captured: 4 });
  });

  it("stores the valid packs of a batch in which others cannot be decoded", async () => {
    const bench = new CaptureBench([captureConfig()]);
    const garbage = { body: "", pack: Buffer.from("garbage"), requests: 1 };
    await bench.fanOut(garbage, packMessage({ requests: requests(3) }), garbage);

    expect(await readCapture(bench.archive, "all")).toHaveLength(3);
    expect(bench.log.events).toEqual(["poison", "poison"]);
  });

  it("skips requests whose time of capture does not fit into an object name", async () => {
    const bench = new CaptureBench([captureConfig()]);
    const parts = [{ capturedAtMs: Date.UTC(2026, 1, 1) }, { capturedAtMs: 8.64e15 }];
    await bench.fanOut(packMessage({ requests: parts }));

    expect(await readCapture(bench.archive, "all")).toHaveLength(1);
    expect((await bench.totals())["capture/all"]).toEqual({ enqueued: 2, captured: 1, skipped: 1 });
  });

  it("skips requests that wait for a capture which is no longer configured", async () => {
    const bench = new CaptureBench([captureConfig()]);
    bench.archive.mood = "away";
    await bench.fanOut(packMessage({ requests: requests(3) }));
    const [waiting] = await bench.waiting();
    const later = new CaptureBench([captureConfig({ name: "other" })]);
    await later.fanOut(waiting);

    expect(await readCapture(later.archive, "other")).toEqual([]);
    expect(await later.received("a")).toEqual([]);
    expect(settledIndexes(await later.state.ledger.sheet("capture/all", packIn(waiting).id))).toEqual(
      new Set([0, 1, 2]),
    );
    expect(await later.waiting()).toEqual([]);
  });

  it("gives up requests once they have waited for a capture for longer than the queue keeps them, and counts them", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    onTestFinished(() => void vi.useRealTimers());
    const bench = new CaptureBench([captureConfig({ when: { path: new Pattern("[02468]$") } })]);
    bench.archive.mood = "away";
    await bench.ingress.send([packMessage({ requests: requests(10) })]);
    const startMs = bench.nowMs;
    let kept: string[] = [];
    for (let left = 1; left > 0; left = bench.ingress.depth().messages) {
      vi.setSystemTime(bench.nowMs);
      const waiting = await bench.waiting(30_000);
      kept = waiting.map(({ body }) => body);
      bench.nowMs += 31_000;
      await bench.fanOutWaiting();
      bench.nowMs += 8 * 3_600_000;
    }

    expect((bench.nowMs - startMs) / 86_400_000).toBeCloseTo(4.3, 0);
    expect(JSON.parse(kept[0])).toMatchObject({ since: startMs, uncaptured: { captures: ["all"] } });
    expect(await bench.totals()).toEqual({
      a: { enqueued: 10 },
      "capture/all": { enqueued: 10, filtered: 5, expired: 5 },
    });
    expect(bench.log.lines.at(-1)).toMatchObject({ event: "capture-expired", capture: "all", requests: 5 });
    expect(bench.ingress.expired().requests).toBe(0);
  });
});

/** The fan-out with one target, real queues, a real state store and a directory that all captures share. */
class CaptureBench {
  nowMs = Date.now();
  readonly log = new LogLines();
  readonly archive: MoodyArchive;
  readonly state: EmbeddedState;
  readonly ingress: EmbeddedQueue;
  readonly #queue: EmbeddedQueue;
  readonly #app: ReturnType<typeof createFanOut>;

  constructor(captures: readonly CaptureConfig[], giveUpMs = 5_000) {
    const directory = temporaryDirectory();
    const now = () => this.nowMs;
    const open = (name: string) => EmbeddedQueue.open({ directory, name, now });
    this.archive = new MoodyArchive(
      DirectoryArchive.open(temporaryDirectory()),
      () => new ArchiveError("UNAVAILABLE", "the disk is gone"),
    );
    this.state = EmbeddedState.open(directory);
    this.ingress = open("ingress");
    this.#queue = open("a");
    const { archive, log } = this;
    this.#app = createFanOut({
      targets: [new LiveTarget(target({ name: "a" }), this.state.controls)],
      queueOf: () => this.#queue,
      captures: captures.map((config) => new CaptureSink({ config, archive, log: log.log, giveUpMs, now })),
      ingress: this.ingress,
      deadLetters: this.ingress.deadLetters,
      ledger: this.state.ledger,
      log: this.log.log,
    });
    onTestFinished(() => {
      this.ingress.close();
      this.#queue.close();
      this.state.close();
    });
  }

  async fanOut(...messages: readonly Pick<OutgoingMessage, "body" | "pack">[]): Promise<readonly string[]> {
    const sent = messages.map((message, i) => delivery({ requests: 1, ...message }, { messageId: `m${i + 1}` }));
    return invoke(this.#app, sent);
  }

  /** Fans out all messages of the ingress queue, before their delays end. */
  async fanOutWaiting(): Promise<void> {
    const deliveries = await this.waiting(30_000);
    await invoke(this.#app, deliveries);
    await this.ingress.delete(deliveries.map(({ receipt }) => receipt));
  }

  /** All messages of the ingress queue, whatever their delay. */
  async waiting(visibilityMs = 0) {
    const { nowMs } = this;
    this.nowMs += 900_000;
    const deliveries = [];
    const { signal } = new AbortController();
    for (let i = 0; i < 3; i++) {
      deliveries.push(
        ...(await this.ingress.receive({ max: 10, waitMs: 0, visibilityMs: Math.max(visibilityMs, 1), signal })),
      );
    }
    this.nowMs = nowMs;
    return deliveries;
  }

  async received(_name: string) {
    return this.#queue.receive({ max: 10, waitMs: 0, visibilityMs: 0, signal: new AbortController().signal });
  }

  /** The ledger's totals of each target and capture, without zeros. */
  async totals(): Promise<Record<string, Record<string, number>>> {
    const { targets } = await this.state.ledger.totals();
    return Object.fromEntries(
      [...targets].map(([name, { enqueued, fates }]) => {
        const counted: [string, number][] = Object.entries(fates);
        return [name, { enqueued, ...Object.fromEntries(counted.filter(([, count]) => count > 0)) }];
      }),
    );
  }
}
