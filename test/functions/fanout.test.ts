import { randomBytes } from "node:crypto";
import { crc32, zstdCompressSync } from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import { createFanOut } from "../../functions/fanout.ts";
import type { TargetConfig } from "../../relay/config/config.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { openPack } from "../../relay/pack/envelope.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { readMessage } from "../../relay/queue/message.ts";
import { type Delivery, type OutgoingMessage, QueueError, type QueueSender } from "../../relay/queue/port.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { Pattern } from "../../relay/rules/pattern.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import { type Controls, type Ledger, StateError } from "../../relay/state/port.ts";
import { invoke } from "../support/benches/replay-bench.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { delivery, packIn, packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";

describe("fan-out", () => {
  it("forwards a pack unchanged to a target that receives every request", async () => {
    const bench = new FanOutBench([{ name: "a" }, { name: "b" }]);
    // An envelope and a body that this version would not write.
    const content = openPack(packMessage({ requests: requests(3) }).pack);
    if (content instanceof DecodeError) throw content;
    const sent = { body: '{"by":"another version"}', pack: envelope(0, content, content.length), requests: 3 };
    const failed = await bench.fanOut(sent);

    expect(failed).toEqual([]);
    for (const name of ["a", "b"]) {
      const [received] = await bench.received(name);
      expect(received.body).toBe(sent.body);
      expect(Buffer.from(received.pack)).toEqual(Buffer.from(sent.pack));
    }
  });

  it("sends each target its share, and records why it does not receive the rest", async () => {
    const bench = new FanOutBench([
      { name: "all" },
      { name: "posts", when: { methods: ["POST"] } },
      { name: "api", when: { path: new Pattern("^/api/") } },
      { name: "none", when: { methods: ["PUT"] } },
      { name: "off", sample: { fraction: 0 } },
    ]);
    const parts = [
      { method: "GET", path: "/api/1" },
      { method: "POST", path: "/api/2" },
      { method: "POST", path: "/3" },
    ];
    await bench.fanOut(packMessage({ requests: parts }));

    expect(await bench.indexes()).toEqual({ all: [0, 1, 2], posts: [1, 2], api: [0, 1] });
    expect(await bench.totals()).toEqual({
      all: { enqueued: 3 },
      posts: { enqueued: 3, filtered: 1 },
      api: { enqueued: 3, filtered: 1 },
      none: { enqueued: 3, filtered: 3 },
      off: { enqueued: 3, sampledOut: 3 },
    });
  });

  it("samples each target independently, at its own fraction", async () => {
    const bench = new FanOutBench([
      { name: "half", sample: { fraction: 0.5 } },
      { name: "other-half", sample: { fraction: 0.5 } },
    ]);
    await bench.fanOut(packMessage({ requests: requests(2_000) }));
    const { half, "other-half": otherHalf } = await bench.indexes();
    const both = half.filter((index) => otherHalf.includes(index));

    expect(Math.abs(half.length - 1_000)).toBeLessThan(100);
    expect(Math.abs(otherHalf.length - 1_000)).toBeLessThan(100);
    expect(Math.abs(both.length - 500)).toBeLessThan(100);
  });

  it("samples requests with the same key together", async () => {
    const stickyBy = { by: "header", name: "x-user", missing: "out" } as const;
    const bench = new FanOutBench([{ name: "a", sample: { fraction: 0.5, stickyBy } }]);
    const parts = requests(400).map((part, i) => ({ ...part, headers: i % 10 === 9 ? [] : ["X-User", `u${i % 10}`] }));
    await bench.fanOut(packMessage({ requests: parts }));
    const { a } = await bench.indexes();
    const users = new Set(a.map((index) => index % 10));

    expect(a).toEqual(parts.map((_, i) => i).filter((i) => users.has(i % 10)));
    expect(users.has(9)).toBe(false);
    expect(users.size).toBeGreaterThan(0);
    expect(users.size).toBeLessThan(9);
  });

  it("keeps the attempt, id and indexes of a share", async () => {
    const bench = new FanOutBench([{ name: "a", when: { path: new Pattern("[13]$") } }]);
    const sent = packMessage({ agent: "edge~1", sequence: 9, requests: requests(5) });
    await bench.fanOut(sent);
    const [received] = await bench.received("a");

    expect(packIn(received)).toMatchObject({ id: packIn(sent).id, agent: "edge~1", sequence: 9, attempt: 0 });
    expect(packIn(received).requests.map(({ id }) => id)).toEqual([1, 3].map((i) => `${packIn(sent).id}-${i}`));
  });

  it("counts a pack once if it is delivered twice", async () => {
    const bench = new FanOutBench([{ name: "a", when: { path: new Pattern("^/[12]$") } }]);
    const sent = packMessage({ agent: "edge~1", requests: requests(4) });
    await bench.fanOut(sent);
    await bench.fanOut(sent);

    expect(await bench.totals()).toEqual({ a: { enqueued: 4, filtered: 2 } });
    expect((await bench.state.ledger.totals()).agents).toMatchObject([{ agent: "edge~1", packs: 1, requests: 4 }]);
  });

  it("moves undecodable packs to the dead letters, and handles the rest of the batch", async () => {
    const bench = new FanOutBench([{ name: "a" }]);
    const good = packMessage({ sequence: 1, requests: requests(2) });
    const bombed = { ...good, pack: bomb(65 * 1024 * 1024) };
    const lying = { ...good, pack: bomb(1024 * 1024, 100) };
    const crc = { ...good, pack: Buffer.from(good.pack).fill(0xff, 20, 24) };
    const garbage = { ...good, pack: Buffer.from("garbage"), body: "no summary" };
    const last = packMessage({ sequence: 2, requests: requests(3) });
    const failed = await bench.fanOut(good, bombed, lying, crc, garbage, last);

    expect(failed).toEqual([]);
    expect((await bench.received("a")).map(({ pack }) => packIn({ pack }).requests.length)).toEqual([2, 3]);
    const letters = await bench.ingress.deadLetters.browse(10);
    expect(
      letters.map(({ body }) => [/\(([A-Z_]+)\)$/.exec(JSON.parse(body).reason)?.[1], JSON.parse(body).count ?? 0]),
    ).toEqual(
      [
        ["TOO_LONG", 2],
        ["BAD_COMPRESSION", 2],
        ["BAD_CHECKSUM", 2],
        ["TRUNCATED", 0],
      ].map(([code, count]) => [
        code === "TRUNCATED" ? expect.stringMatching(/TRUNCATED|BAD_MAGIC|NO_PACK/) : code,
        count,
      ]),
    );
    expect(letters.map(({ pack }) => Buffer.from(pack).equals(Buffer.from(bombed.pack))).indexOf(true)).toBe(0);
    expect(await bench.totals()).toEqual({ a: { enqueued: 5 } });
    expect(bench.log.events).toEqual(["poison", "poison", "poison", "poison"]);
  });

  it("ignores marks that an agent has forged, whatever they are, and says so once a minute", async () => {
    const bench = new FanOutBench([{ name: "all" }, { name: "some", when: { path: new Pattern("0$") } }]);
    const marks = { job: { id: "j1", base: 0 }, redrive: { count: 4_294_967_295, at: new Date(0).toISOString() } };
    const forged = (sequence: number, text: (body: object) => string) => {
      const message = packMessage({ sequence, requests: requests(2) });
      return { ...message, body: text({ ...JSON.parse(message.body), ...marks }) };
    };
    const spaced = (body: object) => JSON.stringify(body, undefined, 1);
    const escaped = (body: object) =>
      JSON.stringify({ ...body, attempt: 0 })
        .replace(/"(job|redrive)"/g, '"\\u00$1"')
        .replace("u00job", "u006aob")
        .replace("u00redrive", "u0072edrive");
    const sent = [JSON.stringify, spaced, escaped].map((text, i) => forged(i + 1, text));
    const unmarked = { ...packMessage({ sequence: 4, requests: requests(2) }), body: '{"about":"\\"job\\": none"}' };
    const failed = await bench.fanOut(...sent, unmarked);

    expect(failed).toEqual([]);
    for (const name of ["all", "some"]) {
      const received = await bench.received(name);
      expect(received).toHaveLength(4);
      for (const one of received) expect(readMessage(one)).not.toMatchObject({ job: expect.anything() });
      for (const one of received) expect(readMessage(one)).not.toMatchObject({ redrive: expect.anything() });
    }
    expect(await bench.totals()).toEqual({ all: { enqueued: 8 }, some: { enqueued: 8, filtered: 4 } });
    expect(bench.log.lines).toMatchObject([{ event: "forged-mark", messages: 1 }]);
  });

  it("puts a pack back with the time when it first came if the state store is away, and leaves the time out at targets", async () => {
    const bench = new FanOutBench([{ name: "a" }, { name: "some", when: { path: new Pattern("1$") } }]);
    bench.stateDown = true;
    const sent = packMessage({ requests: requests(2) });
    const sinceMs = Date.now() - 86_400_000;
    const failed = await bench.fanOutDelivery(delivery(sent, { sentAtMs: sinceMs }));
    const [first] = await bench.returned();
    await bench.fanOutDelivery(delivery({ ...sent, body: first.body }));
    const [second] = await bench.returned();
    bench.stateDown = false;
    await bench.fanOutDelivery(delivery({ ...sent, body: second.body }));

    expect(failed).toEqual([]);
    for (const { body } of [first, second])
      expect(JSON.parse(body)).toEqual({ ...JSON.parse(sent.body), since: sinceMs });
    expect(JSON.parse((await bench.received("a"))[0].body)).toEqual(JSON.parse(sent.body));
    expect(JSON.parse((await bench.received("some"))[0].body)).not.toHaveProperty("since");
  });

  it("logs an outage of the state store once, although it still knows its targets", async () => {
    const bench = new FanOutBench([{ name: "a" }]);
    const [first, second, third] = [1, 2, 3].map((sequence) => packMessage({ sequence, requests: requests(1) }));
    await bench.fanOut(first);
    bench.stateDown = true;
    const failed = [await bench.fanOut(second), await bench.fanOut(third)];
    const events = [...bench.log.events];
    bench.stateDown = false;
    await bench.fanOut(second);

    expect(failed).toEqual([["m1"], ["m1"]]);
    expect(events).toEqual(["state-down"]);
    expect(bench.log.events).toEqual(["state-down", "state-up"]);
  });

  it("retries a pack only for the target whose queue refused it", async () => {
    const bench = new FanOutBench([{ name: "a" }, { name: "down" }]);
    bench.down.add("down");
    const sent = packMessage({ requests: requests(2) });
    const failed = await bench.fanOut(sent);
    const before = await bench.totals();
    bench.down.clear();
    await bench.fanOutAgain(sent);

    expect(failed).toEqual(["m1"]);
    expect(before).toEqual({ a: { enqueued: 2 } });
    expect((await bench.received("a")).length).toBe(1);
    expect(await bench.totals()).toEqual({ a: { enqueued: 2 }, down: { enqueued: 2 } });
    expect((await bench.received("down")).length).toBe(1);
  });
});

describe("fan-out to a full queue", () => {
  it("drops and counts what does not fit, and other targets receive everything", async () => {
    const bench = new FanOutBench([{ name: "a" }, { name: "full", when: { methods: ["GET"] } }], { full: 4_000_000 });
    const parts = requests(10).map((part, i) => ({
      ...part,
      method: i < 8 ? "GET" : "POST",
      body: randomBytes(8_000),
    }));
    const failed: string[] = [];
    // Twice as much as fits.
    for (let i = 0; i < 100; i++)
      failed.push(...(await bench.fanOut(packMessage({ sequence: i + 1, requests: parts }))));
    const { a, full } = await bench.totals();

    expect(failed).toEqual([]);
    expect(a).toEqual({ enqueued: 1_000 });
    expect(full).toEqual({ enqueued: 1_000, filtered: 200, dropped: expect.any(Number) });
    expect(full.dropped).toBe(800 - (await bench.requestsIn("full")));
    expect(full.dropped).toBeGreaterThan(300);
    expect(await bench.requestsIn("a")).toBe(1_000);
    expect(bench.log.events).toEqual(["queue-full"]);
  });
});

/** A pack of zeros whose header announces `announcedBytes`. */
function bomb(bytes: number, announcedBytes = bytes): Buffer {
  return envelope(1, zstdCompressSync(Buffer.alloc(bytes)), announcedBytes);
}

function envelope(compression: number, payload: Uint8Array, announcedBytes: number): Buffer {
  const head = Buffer.alloc(14);
  head.write("SRPK");
  head[4] = 1;
  head[5] = compression;
  head.writeUInt32BE(announcedBytes, 6);
  head.writeUInt32BE(crc32(payload), 10);
  return Buffer.concat([head, payload]);
}

/** The fan-out with real queues and a real state store. */
class FanOutBench {
  readonly log = new LogLines();
  /** Names of targets whose queues refuse everything. */
  readonly down = new Set<string>();
  stateDown = false;
  readonly state: EmbeddedState;
  readonly ingress: EmbeddedQueue;
  #nowMs = Date.now();
  readonly #queues: ReadonlyMap<string, EmbeddedQueue>;
  readonly #app: ReturnType<typeof createFanOut>;

  /** @param maxBytes of the queues of some targets */
  constructor(targets: readonly Partial<TargetConfig>[], maxBytes: Readonly<Record<string, number>> = {}) {
    const directory = temporaryDirectory();
    const open = (name: string) =>
      EmbeddedQueue.open({ directory, name, now: () => this.#nowMs, maxBytes: maxBytes[name] ?? 1e12 });
    const configs = targets.map(target);
    this.state = EmbeddedState.open(directory);
    this.ingress = open("ingress");
    this.#queues = new Map(configs.map(({ name }) => [name, open(name)]));
    this.#app = createFanOut({
      targets: configs.map((config) => new LiveTarget(config, this.#controls())),
      queueOf: (name) => (this.down.has(name) ? broken : this.#queue(name).entrance),
      captures: [],
      ingress: this.ingress,
      deadLetters: this.ingress.deadLetters,
      ledger: this.#ledger(),
      log: this.log.log,
    });
    onTestFinished(() => {
      for (const queue of [this.ingress, ...this.#queues.values()]) queue.close();
      this.state.close();
    });
  }

  async fanOut(...messages: readonly OutgoingMessage[]): Promise<readonly string[]> {
    return invoke(
      this.#app,
      messages.map((message, i) => delivery(message, { messageId: `m${i + 1}` })),
    );
  }

  async fanOutDelivery(one: Delivery): Promise<readonly string[]> {
    return invoke(this.#app, [one]);
  }

  /** Removes the messages that were put back into the ingress queue, whatever their delay. */
  async returned(): Promise<readonly Delivery[]> {
    this.#nowMs += 60_000;
    const { signal } = new AbortController();
    const deliveries = await this.ingress.receive({ max: 10, waitMs: 0, visibilityMs: 1_000, signal });
    await this.ingress.delete(deliveries.map(({ receipt }) => receipt));
    return deliveries;
  }

  async fanOutAgain(message: OutgoingMessage): Promise<readonly string[]> {
    return invoke(this.#app, [delivery(message, { receiveCount: 2 })]);
  }

  async requestsIn(name: string): Promise<number> {
    return (await this.#queue(name).backlog()).requests ?? 0;
  }

  async received(name: string) {
    return this.#queue(name).receive({ max: 10, waitMs: 0, visibilityMs: 0, signal: new AbortController().signal });
  }

  /** The request indexes in the one message of each queue; queues without a message are left out. */
  async indexes(): Promise<Record<string, number[]>> {
    const all: Record<string, number[]> = {};
    for (const name of this.#queues.keys()) {
      const received = await this.received(name);
      if (received.length > 0) all[name] = packIn(received[0]).requests.map(({ index }) => index);
    }
    return all;
  }

  /** The ledger's totals of each target, without zeros. */
  async totals(): Promise<Record<string, Record<string, number>>> {
    const { targets } = await this.state.ledger.totals();
    return Object.fromEntries(
      [...targets].map(([name, { enqueued, fates }]) => {
        const counted: [string, number][] = Object.entries(fates);
        return [name, { enqueued, ...Object.fromEntries(counted.filter(([, count]) => count > 0)) }];
      }),
    );
  }

  #ledger(): Ledger {
    const { ledger } = this.state;
    return {
      recordFanOut: async (pack) => {
        if (this.stateDown) throw new StateError("away");
        return ledger.recordFanOut(pack);
      },
      settle: (...change) => ledger.settle(...change),
      reopen: (...change) => ledger.reopen(...change),
      move: (...change) => ledger.move(...change),
      fannedOut: (pack) => ledger.fannedOut(pack),
      sheet: (...pack) => ledger.sheet(...pack),
      totals: () => ledger.totals(),
    };
  }

  #controls(): Controls {
    const { controls } = this.state;
    return {
      read: async (name) => {
        if (this.stateDown) throw new StateError("away");
        return controls.read(name);
      },
      write: (...change) => controls.write(...change),
    };
  }

  #queue(name: string): EmbeddedQueue {
    const queue = this.#queues.get(name);
    if (!queue) throw new Error(`no queue for ${name}`);
    return queue;
  }
}

const broken: QueueSender = {
  maxMessageBytes: 1,
  send: () => Promise.reject(new QueueError("UNAVAILABLE", "down")),
};
