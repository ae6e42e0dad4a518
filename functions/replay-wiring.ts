import type { Hono } from "hono";
import { describeCredentials } from "../relay/credentials/captured-credentials.ts";
import { TargetCredentials } from "../relay/credentials/target-credentials.ts";
import { FigureBook } from "../relay/replay/figure-book.ts";
import { createLane, type Lane } from "../relay/replay/lane.ts";
import type { LiveTarget } from "../relay/replay/live-target.ts";
import { Pacer } from "../relay/replay/pacer.ts";
import { Transport } from "../relay/replay/transport.ts";
import type { Invocation } from "./batch.ts";
import { createReplay } from "./replay.ts";
import type { Parts } from "./wiring.ts";

// Separate from wiring.ts: this file imports undici, which would make the bundles of the other functions a third larger.

/**
 * Returns a function that opens lanes to a target. Each lane has its own connections; all share slots, figures and
 * credentials. Throws if an environment variable of the target is missing; the returned function throws if the target's
 * certificate authority cannot be used.
 */
export function prepareLane({ stores, metrics, log }: Parts, live: LiveTarget): () => Lane {
  const { config } = live;
  const pacer = new Pacer(config.name, live, stores.state.rounds);
  const figures = new FigureBook(config.name, metrics?.over(stores.state.figures) ?? stores.state.figures);
  const credentials = TargetCredentials.of(config, log);
  const description = describeCredentials(config);
  if (description !== undefined) {
    const level = config.credentialsFor === "all" ? "warn" : "info";
    log[level]({ event: "credentials", target: config.name, for: config.credentialsFor }, description);
  }
  return () => createLane({ live, transport: new Transport(config), pacer, figures, credentials });
}

export function wireReplay(
  { stores, stateOutage, budget, metrics, log }: Parts,
  lane: Lane,
): Hono<{ Bindings: Invocation }> {
  const own = stores.queueOf(lane.live.config.name);
  return createReplay({
    lane,
    queue: own.queue,
    deadLetters: own.deadLetters,
    retention: own.queue.retention,
    ledger: stores.state.ledger,
    jobs: stores.state.jobs,
    direct: own === stores.ingress,
    stateOutage,
    room: budget.accountOf(lane.live.config.name),
    ...(metrics && { metrics }),
    log,
  });
}
