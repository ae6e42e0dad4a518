import { describe, expect, it, onTestFinished } from "vitest";
import { createSinks } from "../../functions/capture/sink.ts";
import { createFanOut } from "../../functions/fanout.ts";
import { openArchive } from "../../relay/archive/archive-place.ts";
import { CaptureReader } from "../../relay/capture/capture-reader.ts";
import { ByteBudget } from "../../relay/concurrency/byte-budget.ts";
import type { CaptureConfig } from "../../relay/config/config.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { invoke, ReplayBench } from "../support/benches/replay-bench.ts";
import { openState } from "../support/data/lanes.ts";
import { LogLines } from "../support/data/log-lines.ts";
import { delivery, packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";
import { ShadowServer } from "../support/servers/shadow-server.ts";

const signal = new AbortController().signal;

describe("without room for more than one decoded pack", () => {
  it("the fan-out handles a whole batch, captures included", async () => {
    const directory = temporaryDirectory();
    const state = openState();
    const queues = ["ingress", "a"].map((name) => EmbeddedQueue.open({ directory, name }));
    onTestFinished(() => {
      for (const queue of queues) queue.close();
    });
    const [ingress, own] = queues;
    const store = { kind: "directory", directory } as const;
    const capture: CaptureConfig = { name: "shop", store, sample: { fraction: 1 }, keepMs: 3_600_000 };
    const archive = await openArchive(store);
    const log = new LogLines();
    const budget = new ByteBudget(1);
    const app = createFanOut({
      targets: [new LiveTarget(target({ name: "a" }), state.controls)],
      queueOf: () => own,
      captures: createSinks([capture], new Map([["shop", archive]]), log.log),
      ingress,
      deadLetters: ingress.deadLetters,
      ledger: state.ledger,
      room: budget.accountOf("ingress"),
      log: log.log,
    });
    const deliveries = [1, 2, 3, 4].map((sequence) =>
      delivery(packMessage({ sequence, requests: requests(2) }), { messageId: `m${sequence}` }),
    );
    const failed = await invoke(app, deliveries);
    let captured = 0;
    for await (const _ of new CaptureReader(archive, "shop", { fromMs: 0, toMs: 8e15 })) captured++;

    expect(failed).toEqual([]);
    expect(own.depth()).toMatchObject({ messages: 4, requests: 8 });
    expect(captured).toBe(8);
    expect(budget.heldBytes).toBe(0);
  });

  it("a target that is paused does not keep another from sending", async () => {
    const shadow = await ShadowServer.start();
    const budget = new ByteBudget(1);
    const open = (name: string) => new ReplayBench({ name, url: shadow.url }, { room: budget.accountOf(name) });
    const [paused, other] = ["paused", "other"].map(open);
    await paused.pause();
    const stop = new AbortController();
    const held = [paused, other].map(async (bench) => {
      await bench.send(...[1, 2, 3].map((sequence) => packMessage({ sequence, requests: requests(2) })));
      return bench.invoke(await bench.receive(), { signal: bench === paused ? stop.signal : signal, patient: true });
    });
    await held[1];
    const arrived = shadow.received.length;
    stop.abort();

    expect(arrived).toBe(6);
    expect(await other.fates()).toEqual({ "answered.2xx": 6 });
    expect(await held[0]).toHaveLength(3);
    expect(budget.heldBytes).toBe(0);
  });

  it("an invocation that ends sends unopened packs back as new messages, because they did not fail", async () => {
    const shadow = await ShadowServer.start();
    const room = new ByteBudget(1).accountOf("staging");
    const bench = new ReplayBench({ url: shadow.url }, { room });
    const release = await room.take(1, signal);
    await bench.send(packMessage({ requests: requests(2) }));
    const [first] = await bench.receive();
    const stop = new AbortController();
    const invoked = bench.invoke([{ ...first, receiveCount: 44 }], { signal: stop.signal });
    stop.abort();
    const failed = await invoked;
    release();
    const [back] = await bench.waiting();
    await bench.invoke([back]);

    expect(failed).toEqual([]);
    expect([back.receiveCount, JSON.parse(back.body).since]).toEqual([1, first.sentAtMs]);
    expect(await bench.fates()).toEqual({ "answered.2xx": 2 });
  });
});
