import { once } from "node:events";
import { createAdaptorServer } from "@hono/node-server";
import { assertAuthorities, type Config } from "../relay/config.ts";
import { readHostStats } from "../relay/host-stats.ts";
import type { Logger } from "../relay/log.ts";
import { Pacer } from "../relay/pacer.ts";
import type { EmbeddedQueue } from "../relay/queue/embedded.ts";
import { createLane } from "../relay/replay.ts";
import { openStores } from "../relay/stores.ts";
import { Transport } from "../relay/transport.ts";
import { createAdmin } from "./admin.ts";
import { createFanOut } from "./fanout.ts";
import { Poller } from "./poller.ts";
import { createReplay } from "./replay.ts";

/** A running host. */
export interface RunningHost {
  /**
   * Sends nothing more, waits for the answers to what is under way, for 8 s at most, and hands back the rest. Always
   * resolves with 0, since the queue keeps it.
   */
  stop(): Promise<number>;
  readonly pending: number;
}

const fanOutBatch = 10;
// Containers are killed 10 s after SIGTERM: handing back has to be done by then.
const longestStopMs = 8_000;

/** Runs the functions on this machine. Rejects where the data directory, the admin address or an authority cannot be used. */
export async function startHost(config: Config, log: Logger, stopMs = longestStopMs): Promise<RunningHost> {
  assertAuthorities(config);
  const stores = await openStores(config);
  const { visibilityMs, inFlight } = config.host;
  const transports = config.targets.map((target) => new Transport(target));
  const queueOf = (target: { readonly name: string }) => stores.targets.get(target.name) as EmbeddedQueue;
  const admin = createAdaptorServer(createAdmin(() => readHostStats(stores)));
  const listening = once(admin, "listening");
  const { admin: address } = config.host;
  if (address.kind === "unix") admin.listen(address.path);
  else admin.listen(address.port, address.host);
  try {
    await listening;
  } catch (error) {
    stores.close();
    throw new Error(`host.admin: ${(error as Error).message}; choose another host.admin`, { cause: error });
  }
  if (config.ingress.kind === "sqs") {
    const { messages, requests } = stores.localIngress.depth();
    if (messages > 0) {
      log.error(
        { event: "left-behind", directory: config.queueDirectory, messages, requests },
        "an embedded ingress queue has packs that nobody takes while queue is in SQS",
      );
    }
  }
  const fanOut = new Poller({
    name: "ingress",
    queue: stores.ingress.queue,
    app: createFanOut({
      targets: config.targets,
      queueOf,
      deadLetters: stores.localIngress.deadLetters,
      ledger: stores.state,
      log,
    }),
    batch: fanOutBatch,
    inFlight: 1,
    visibilityMs,
    log,
  });
  const replays = config.targets.map((target, i) => {
    const pacer =
      target.ratePerSecond === Number.POSITIVE_INFINITY
        ? undefined
        : new Pacer(target.name, target.ratePerSecond, stores.state);
    const queue = queueOf(target);
    const lane = createLane(target, transports[i], pacer);
    return new Poller({
      name: target.name,
      queue,
      app: createReplay({ lane, queue, deadLetters: queue.deadLetters, ledger: stores.state, log }),
      batch: 1,
      inFlight,
      visibilityMs,
      log,
    });
  });
  log.info({ event: "replaying", targets: config.targets.map(({ name }) => name) }, "the host replays");
  return {
    pending: 0,
    async stop() {
      log.info({ event: "draining" }, "the host stops");
      const closeTransports = () => Promise.all(transports.map((transport) => transport.close()));
      const timer = setTimeout(() => {
        log.warn({ event: "cut-off", afterMs: stopMs }, "shadows have not answered; what is under way is handed back");
        closeTransports().catch(() => {});
      }, stopMs);
      await Promise.all([fanOut, ...replays].map((poller) => poller.stop()));
      clearTimeout(timer);
      await closeTransports();
      admin.close();
      stores.close();
      log.info({ event: "stopped" }, "the host has stopped");
      return 0;
    },
  };
}
