import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Dispatcher, Pool } from "undici";
import { Poller } from "../../functions/host/poller.ts";
import { createReplay } from "../../functions/replay.ts";
import { createLogger } from "../../relay/log/log.ts";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import type { QueueReceiver } from "../../relay/queue/port.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import { createLane } from "../../relay/replay/lane.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { type OutboundRequest, prepareOutbound } from "../../relay/replay/outbound.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { Transport } from "../../relay/replay/transport.ts";
import { EmbeddedState } from "../../relay/state/embedded/state.ts";
import { packIn } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import { Traffic } from "../support/processes/traffic.ts";
import { createPacks } from "./traffic-packs.ts";

// A worker that sends the same requests through the replay function and by undici alone, in turns. Prints a JSON line with the
// requests per second of each round. Arguments: the shadow, the number of rounds, and the ways, separated by commas.

const [shadow, rounds, ways] = process.argv.slice(2);
const url = new URL(shadow);
const concurrency = 64;
const requests = 20_000;

const config = target({ url, concurrency });
const messages = createPacks(new Traffic(1), requests);
const outbound = messages
  .flatMap((message) => packIn(message).requests)
  .map((request) => prepareOutbound(config, request, 1))
  .flatMap((prepared) => (prepared.kind === "send" ? prepared.request : []));

const log = createLogger("warn");

const run: Readonly<Record<string, () => Promise<Took>>> = {
  /** The replay function as a host runs it, from the queue to the ledger. */
  async replay() {
    const directory = mkdtempSync(join(tmpdir(), "spoa-relay-bench-"));
    const queue = EmbeddedQueue.open({ directory, name: "replayed" });
    const state = EmbeddedState.open(directory);
    const live = new LiveTarget(config, state.controls);
    const transport = new Transport(config);
    const pacer = new Pacer(config.name, live, state.rounds);
    const lane = createLane({ live, transport, pacer, figures: new FigureBook(config.name, state.figures) });
    const app = createReplay({
      lane,
      queue,
      deadLetters: queue.deadLetters,
      ledger: state.ledger,
      jobs: state.jobs,
      log,
    });
    for (let at = 0; at < messages.length; at += 10) await queue.send(messages.slice(at, at + 10));
    const { watched, emptied } = watch(queue, messages.length);
    const stop = startWatch();
    const poller = new Poller({
      name: config.name,
      queue: watched,
      app,
      batch: 1,
      inFlight: 4,
      visibilityMs: 30_000,
      log,
    });
    await emptied;
    const took = stop();
    await poller.stop();
    await transport.close();
    queue.close();
    state.close();
    rmSync(directory, { recursive: true, force: true });
    return took;
  },

  /** The usual way with undici: requests of a pool whose answers are read. */
  request: () =>
    inLoops(async (pool, { method, path, headers, body }) => {
      const answer = await pool.request({
        method: method as Dispatcher.HttpMethod,
        path,
        headers: headers as string[],
        body,
      });
      await answer.body.dump();
    }),

  /** The cheapest way with undici. */
  dispatch: () =>
    inLoops(
      (pool, { method, path, headers, body }) =>
        new Promise((resolve, reject) => {
          pool.dispatch(
            { method: method as Dispatcher.HttpMethod, path, headers: headers as string[], body },
            {
              onRequestStart() {},
              onResponseStart() {},
              onResponseData() {},
              onResponseEnd: () => resolve(),
              onResponseError: (_, error) => reject(error),
            },
          );
        }),
    ),
};

/** The result of a round. */
export interface Round {
  readonly perSecond: number;
  readonly cpuUsEach: number;
}

interface Took {
  readonly ms: number;
  /** CPU time of the process with all its threads. */
  readonly cpuMs: number;
}

/** Wraps a queue; `emptied` resolves when `messages` messages have been deleted, without polling the queue. */
function watch(queue: QueueReceiver, messages: number) {
  const { promise: emptied, resolve } = Promise.withResolvers<void>();
  let left = messages;
  const watched: QueueReceiver = {
    receive: (options) => queue.receive(options),
    extend: (receipt, visibilityMs) => queue.extend(receipt, visibilityMs),
    async delete(receipts) {
      await queue.delete(receipts);
      left -= receipts.length;
      if (left === 0) resolve();
    },
  };
  return { watched, emptied };
}

function startWatch(): () => Took {
  const startMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return { ms: performance.now() - startMs, cpuMs: (user + system) / 1_000 };
  };
}

async function inLoops(send: (pool: Pool, request: OutboundRequest) => Promise<void>): Promise<Took> {
  const pool = new Pool(url.origin, { connections: concurrency, pipelining: 1 });
  let next = 0;
  const stop = startWatch();
  const loop = async (): Promise<void> => {
    while (next < outbound.length) await send(pool, outbound[next++]);
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  const took = stop();
  await pool.close();
  return took;
}

const results: Record<string, Round[]> = {};
for (let round = -1; round < Number(rounds); round++) {
  for (const way of ways.split(",")) {
    const { ms, cpuMs } = await run[way]();
    // The first round only warms up the compiler.
    if (round < 0) continue;
    results[way] ??= [];
    results[way].push({ perSecond: (requests * 1_000) / ms, cpuUsEach: (cpuMs * 1_000) / requests });
  }
}
console.log(JSON.stringify(results));
