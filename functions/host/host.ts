import { once } from "node:events";
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { createAdaptorServer, type ServerType } from "@hono/node-server";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { orAborted } from "../../relay/concurrency/or-aborted.ts";
import type { Config } from "../../relay/config/config.ts";
import type { ListenAddress } from "../../relay/config/forms.ts";
import { assertReplayable } from "../../relay/config/replayable.ts";
import { adminServerOptions, limitConnections } from "../../relay/control/admin-connections.ts";
import type { Logger } from "../../relay/log/log.ts";
import { hasJobMark } from "../../relay/queue/message.ts";
import { rememberQueues } from "../../relay/removed-queues.ts";
import { type Lane, resizeLane } from "../../relay/replay/lane.ts";
import { StateError } from "../../relay/state/port.ts";
import { readHostStats } from "../../relay/stats/host-stats.ts";
import { warningsOf } from "../../relay/stats/warnings.ts";
import type { Stores } from "../../relay/stores.ts";
import { CaptureUpkeepThread } from "../capture/upkeep-thread.ts";
import { toAccess } from "../control/access.ts";
import { createControl } from "../control/control.ts";
import { prepareLane, wireReplay } from "../replay-wiring.ts";
import type { Feeder } from "../schedule/feeder.ts";
import { openParts, type Parts, wireFanOut, wireFeeder } from "../wiring.ts";
import { Poller } from "./poller.ts";

/** A running host. */
export interface RunningHost {
  /**
   * Sends nothing more, waits up to 8 s for the answers to requests in flight, and hands back the rest. Always resolves with
   * 0, because the queues keep every request.
   */
  stop(): Promise<number>;
  readonly pending: number;
}

const fanOutBatch = 10;
// Containers are killed 10 s after SIGTERM: the rest must be handed back by then.
const longestStopMs = 8_000;

// Figures may be 5 s old, because each flush is a write.
const figuresEveryMs = 5_000;
const foldEveryMs = 60_000;
const refreshEveryMs = 1_000;

// The feeder runs each second: it may fail a few times before a pack is late.
const feedAheadMs = 5_000;
const feedLeaseMs = 6_000;
const feedIdleMs = 5_000;
const feedMaxWaiting = 30_000;
const feedFirstMs = 3_000;

/**
 * Runs the functions on this machine. Rejects if the data directory, the admin address or a certificate authority cannot be
 * used, or an environment variable is missing.
 *
 * @param stopMs how long `stop` waits for answers, in milliseconds
 */
export async function startHost(config: Config, log: Logger, stopMs = longestStopMs): Promise<RunningHost> {
  assertReplayable(config);
  const parts = await openParts(config, log, true);
  const { stores, stateOutage } = parts;
  const lanes = parts.targets.map((target) => prepareLane(parts, target)());
  const closeControl = (reason: string, answered: string) =>
    log.error(
      { event: "control-closed", reason },
      `the host replays, but its control API has no token: it answers ${answered}, and refuses all other calls`,
    );
  let admin: ServerType;
  try {
    admin = await listen(
      createControl({ targets: config.targets, stores, log, access: toAccess(config.host, closeControl) }),
      config.host.admin,
    );
  } catch (error) {
    await stores.close();
    throw new Error(`host.admin: ${(error as Error).message}; set host.admin to another address`, { cause: error });
  }
  await reportLeftBehind(config, stores, log);
  await reportRemoved(parts);
  const feeder = await startFeeder(parts);
  const pollers = startPollers(parts, lanes);
  const flushFigures = () => Promise.all(lanes.map(({ figures }) => figures.flush()));
  const figuresTimer = setInterval(flushFigures, figuresEveryMs);
  // While all requests in flight wait for answers, nothing else would notice that the concurrency was raised.
  const refreshTimer = setInterval(() => {
    for (const lane of lanes)
      lane.live.refresh().then(
        (read) => {
          if (read) stateOutage.recover();
          resizeLane(lane);
        },
        (error: Error) => stateOutage.fail(error.message, { fields: { what: lane.live.config.name } }),
      );
  }, refreshEveryMs);
  // The schedule in Lambda also folds, but a deployment may have none.
  const foldTimer = setInterval(() => stores.state.fold().catch(() => {}), foldEveryMs);
  const upkeep = new CaptureUpkeepThread({ captures: config.captures, log: config.log }, log);
  log.info({ event: "replaying", targets: config.targets.map(({ name }) => name) }, "the host is running");
  return {
    pending: 0,
    async stop() {
      log.info({ event: "draining" }, "the host is stopping: it waits for the answers to requests in flight");
      const closeTransports = () => Promise.all(lanes.map(({ transport }) => transport.close()));
      const timer = setTimeout(() => {
        log.warn(
          { event: "cut-off", afterMs: stopMs },
          "shadows have not answered in time: the requests in flight are cut off",
        );
        closeTransports().catch(() => {});
      }, stopMs);
      await Promise.all([feeder.stop(), ...pollers.map((poller) => poller.stop())]);
      clearTimeout(timer);
      clearInterval(figuresTimer);
      clearInterval(foldTimer);
      clearInterval(refreshTimer);
      await upkeep.stop();
      await closeTransports();
      await flushFigures();
      admin.close();
      await stores.close();
      log.info({ event: "stopped" }, "the host has stopped");
      return 0;
    },
  };
}

/** Starts a poller for each target, and one for the fan-out unless a target reads the ingress queue itself. */
function startPollers(parts: Parts, lanes: readonly Lane[]): Poller[] {
  const { config, stores, log } = parts;
  const { visibilityMs, inFlight } = config.host;
  const { ingress } = stores;
  const pollers = lanes.map((lane) => {
    const { name } = lane.live.config;
    const { queue } = stores.queueOf(name);
    const app = wireReplay(parts, lane);
    // Packs of jobs are in the queues of targets alone.
    const waits = stores.queueOf(name) === ingress ? {} : { waits: hasJobMark };
    return new Poller({ name, queue, app, batch: 1, inFlight, ...waits, visibilityMs, log });
  });
  if (lanes.some(({ live }) => stores.queueOf(live.config.name) === ingress)) return pollers;
  const app = wireFanOut(parts, new Map(lanes.map(({ live, figures }) => [live.config.name, figures])));
  const fanOut = { name: "ingress", queue: ingress.queue, app, batch: fanOutBatch, inFlight: 1, visibilityMs, log };
  return [new Poller(fanOut), ...pollers];
}

/**
 * Resolves after the feeder's first round, in which each job that was not fed for a while receives its new times. Pollers that
 * start earlier would find the packs of jobs late by the old times.
 */
async function startFeeder(parts: Parts): Promise<Feeder> {
  const { aws } = parts.config;
  const feeder = wireFeeder(parts, {
    lookAheadMs: feedAheadMs,
    // SQS delays by whole seconds, and a poll may take a second.
    leadMs: aws ? 2_000 : 500,
    // Each listing of the jobs is a call to DynamoDB.
    ...(aws && { idleMs: feedIdleMs }),
    leaseMs: feedLeaseMs,
    maxWaiting: feedMaxWaiting,
  });
  const begun = feeder.start();
  // An archive that hangs must not keep the host from starting.
  await orAborted(begun, AbortSignal.timeout(feedFirstMs)).catch(() => {});
  return feeder;
}

async function listen(app: OpenAPIHono, address: ListenAddress): Promise<ServerType> {
  const server = createAdaptorServer({ fetch: app.fetch, serverOptions: adminServerOptions });
  limitConnections(server as Server);
  const listening = once(server, "listening");
  if (address.kind === "unix") {
    await removeDeadSocket(address.path);
    server.listen(address.path);
  }
  if (address.kind === "tcp") server.listen(address.port, address.host);
  await listening;
  // Only owner and group may connect, whatever the umask says.
  if (address.kind === "unix") chmodSync(address.path, lstatSync(address.path).mode & 0o770);
  return server;
}

/** Removes the socket file of a host that died. The socket of a running host stays, and listening on it fails. */
async function removeDeadSocket(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path, () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
  if (!alive) unlinkSync(path);
}

async function reportLeftBehind(config: Config, stores: Stores, log: Logger): Promise<void> {
  const { messages = 0, requests } = (await stores.leftBehind()) ?? {};
  if (messages === 0) return;
  log.error(
    { event: "left-behind", directory: config.queueDirectory, messages, requests },
    "the embedded ingress queue still has packs, which are not replayed while queue: names one in SQS",
  );
}

/** Says which targets are no longer in the configuration but have requests, and what to do with these. */
async function reportRemoved({ config: { aws, targets }, stores, log }: Parts): Promise<void> {
  const { controls } = stores.state;
  try {
    if (aws) await rememberQueues({ aws, targets, controls });
    for (const { target, waiting, deadLetters, detail } of warningsOf(await readHostStats(stores, targets))) {
      log.warn({ event: "target-removed", target, waiting, deadLetters }, detail);
    }
  } catch (error) {
    // The host starts without its state, and says that the state does not answer as soon as it needs it.
    if (!(error instanceof StateError)) throw error;
  }
}
