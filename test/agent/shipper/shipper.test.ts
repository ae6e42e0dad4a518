import { randomBytes } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AgentLedger, createLedger } from "../../../agent/ledger.ts";
import type { WorkerOptions } from "../../../agent/shipper/messages.ts";
import { Shipper } from "../../../agent/shipper/shipper.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { until } from "../../support/clocks/until.ts";
import { packContent } from "../../support/data/captured-requests.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

const running: Shipper[] = [];

beforeEach(() => {
  // Without them, the SDK would ask the network for credentials.
  for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) vi.stubEnv(name, "test");
  vi.stubEnv("AWS_REGION", "us-east-1");
});

afterEach(async () => {
  for (const shipper of running.splice(0)) await shipper.stop(0);
});

interface Recycled {
  readonly contentBytes: number;
  readonly sealedBytes: number;
  readonly buffer: ArrayBuffer;
}

interface TestShipper {
  readonly shipper: Shipper;
  readonly ledger: AgentLedger;
  readonly recycled: readonly Recycled[];
  readonly log: LogLines;
  /** Ships a pack with so many requests, which then are pending, and with a body that does not compress. Returns its buffer. */
  ship(requests: number, bodyBytes?: number): ArrayBuffer;
}

/** The main thread's side with a real thread. */
function startShipper(worker: Omit<WorkerOptions, "agent">, agent = "edge-1~0badcafe"): TestShipper {
  const ledger = createLedger();
  const recycled: Recycled[] = [];
  const log = new LogLines();
  const shipper = new Shipper({
    worker: { agent, ...worker },
    ledger,
    log: log.log,
    onSealed: (contentBytes, sealedBytes, buffer) => recycled.push({ contentBytes, sealedBytes, buffer }),
  });
  running.push(shipper);
  let sequence = 0;
  return {
    shipper,
    ledger,
    recycled,
    log,
    ship: (count, bodyBytes = 0) => {
      const body = randomBytes(bodyBytes);
      const requests = Array.from({ length: count }, (_, i) => (i === 0 ? { body } : {}));
      const bytes = packContent({ agent, sequence: ++sequence, requests });
      const content = Buffer.from(new ArrayBuffer(bytes.length));
      bytes.copy(content);
      ledger.pending += count;
      const at = new Date(0).toISOString();
      const pack = bytes.toString("hex", 2, 18);
      const summary = { v: 1 as const, pack, agent, seq: sequence, count, bytes: bytes.length, first: at, last: at };
      shipper.ship({ content, summary, span: { fromMs: 0, toMs: 0 } });
      return content.buffer;
    },
  };
}

/** A queue that can be opened again and again. */
function depthOf(directory: string): { readonly messages: number; readonly requests: number } {
  const queue = EmbeddedQueue.open({ directory, name: "ingress" });
  try {
    return queue.depth();
  } finally {
    queue.close();
  }
}

const unreachable = { kind: "sqs", url: "http://127.0.0.1:1/1/ingress" } as const;

describe("the shipper", () => {
  it("moves the requests of each pack from pending to enqueued, and returns the buffers", async () => {
    const directory = temporaryDirectory();
    const { shipper, ledger, recycled, ship } = startShipper({ ingress: { kind: "embedded", directory } });
    const shipped = [3, 1, 20].map((requests) => ship(requests));
    expect(shipper.waitingBytes).toBeGreaterThan(0);
    // Transferred, not copied.
    expect(shipped.map(({ byteLength }) => byteLength)).toEqual([0, 0, 0]);

    await until(() => ledger.pending === 0);

    expect(ledger).toMatchObject({ enqueued: 24, recovered: 0, dropped: new Map() });
    expect([shipper.packs, shipper.waitingBytes]).toEqual([3, 0]);
    expect(recycled.map(({ contentBytes, buffer }) => contentBytes === buffer.byteLength)).toEqual([true, true, true]);
    expect(shipper.sealedBytes).toBe(recycled.reduce((sum, { sealedBytes }) => sum + sealedBytes, 0));
    expect(shipper.problems).toEqual({ queue: undefined, journal: undefined });
    await shipper.stop(5_000);
    expect(depthOf(directory)).toEqual({ messages: 3, requests: 24 });
    expect([...ledger.dropped]).toEqual([]);
  });

  it("sends what waits before it stops", async () => {
    const directory = temporaryDirectory();
    const { shipper, ledger, ship } = startShipper({ ingress: { kind: "embedded", directory } });
    for (const requests of [3, 4]) ship(requests);

    // As soon as it has: a test takes less time.
    await shipper.stop(600_000);

    expect(ledger).toMatchObject({ pending: 0, enqueued: 7, dropped: new Map() });
    expect(depthOf(directory)).toEqual({ messages: 2, requests: 7 });
  });

  it("counts what it cannot send until it has to stop as given up, and what comes later as failed", async () => {
    const { shipper, ledger, ship } = startShipper({ ingress: unreachable });
    for (const requests of [3, 4]) ship(requests);

    await shipper.stop(200);
    ship(2);

    expect(ledger).toMatchObject({ pending: 0, enqueued: 0 });
    expect([...ledger.dropped]).toEqual([
      ["given up at exit", 7],
      ["shipper failed", 2],
    ]);
  });

  it("keeps in its journal what it cannot send, and sends it in its next run", async () => {
    const directory = temporaryDirectory();
    const journal = { directory: join(directory, "journal"), maxBytes: 10_000_000, whenFull: "drop-newest" } as const;
    const first = startShipper({ ingress: unreachable, journal });
    for (const requests of [3, 4]) first.ship(requests);
    await until(() => first.recycled.length === 2);
    await until(() => first.shipper.journal.bytes > 0);
    await first.shipper.stop(100);
    expect(first.ledger).toMatchObject({ pending: 7, enqueued: 0, dropped: new Map() });

    const ingress = { kind: "embedded", directory: join(directory, "queue") } as const;
    const second = startShipper({ ingress, journal }, "edge-1~5ec0bd");
    second.ship(5);
    await until(() => second.ledger.recovered === 7 && second.ledger.enqueued === 5);

    expect(second.log.events).toContain("recovered");
    expect(second.ledger).toMatchObject({ pending: 0, dropped: new Map() });
    await second.shipper.stop(5_000);
    expect(depthOf(ingress.directory)).toEqual({ messages: 3, requests: 12 });
  });

  it("counts and logs the requests of a pack that is too large for the queue, and sends the others", async () => {
    const { shipper, ledger, log, ship } = startShipper({
      ingress: { kind: "embedded", directory: temporaryDirectory() },
    });
    ship(3);
    ship(2, 1_046_000);
    ship(4);

    await until(() => ledger.pending === 0);

    expect(ledger).toMatchObject({ enqueued: 7, dropped: new Map([["oversize", 2]]) });
    expect(log.lines).toMatchObject([{ event: "dropped", reason: "oversize", requests: 2 }]);
    expect([shipper.packs, shipper.waitingBytes]).toEqual([2, 0]);
    await shipper.stop(5_000);
    expect([...ledger.dropped]).toEqual([["oversize", 2]]);
  });

  it("counts the requests of a thread that fails, says why, and starts another", async () => {
    const directory = join(temporaryDirectory(), "queue");
    writeFileSync(directory, "a file in the place of the directory");
    const { shipper, ledger, log, ship } = startShipper({ ingress: { kind: "embedded", directory } });
    ship(3);
    await until(() => shipper.problems.queue !== undefined);

    expect(ledger).toMatchObject({ pending: 0, enqueued: 0, dropped: new Map([["shipper failed", 3]]) });
    expect([shipper.waitingBytes, log.events]).toEqual([0, ["shipper-failed"]]);
    expect(shipper.problems.queue).toContain("lost requests: 3");
    rmSync(directory);
    await until(() => shipper.problems.queue === undefined);
    ship(4);
    await until(() => ledger.enqueued === 4);

    expect(ledger).toMatchObject({ pending: 0, dropped: new Map([["shipper failed", 3]]) });
    expect(log.events).toEqual(["shipper-failed", "shipper-started"]);
  });

  it("names the code of attempts that fail", async () => {
    const { shipper, ship } = startShipper({ ingress: unreachable });
    ship(1);

    await until(() => (shipper.queueErrors.get("UNAVAILABLE") ?? 0) > 0);

    expect(shipper.problems.queue).toBeDefined();
  });
});
