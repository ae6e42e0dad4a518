import type { Hono } from "hono";
import { ByteBudget } from "../relay/concurrency/byte-budget.ts";
import type { Config } from "../relay/config/config.ts";
import type { Logger } from "../relay/log/log.ts";
import type { Outage } from "../relay/log/outage.ts";
import { damagedText } from "../relay/queue/damaged-file.ts";
import { ingressQueue } from "../relay/queue/names.ts";
import type { FigureBook } from "../relay/replay/figure-book.ts";
import { LiveTarget } from "../relay/replay/live-target.ts";
import { TargetLog } from "../relay/replay/target-log.ts";
import { openStores, type Stores } from "../relay/stores.ts";
import type { Invocation } from "./batch.ts";
import { createSinks } from "./capture/sink.ts";
import { createFanOut } from "./fanout.ts";
import type { MetricLine } from "./metric-line.ts";
import { Feeder } from "./schedule/feeder.ts";
import type { FeederOptions } from "./schedule/feeder-options.ts";
import { createStateOutage } from "./state-patience.ts";

/** The parts that the functions of a process share, in Lambda and on a host. */
export interface Parts {
  readonly config: Config;
  readonly stores: Stores;
  /** In the configuration's order. */
  readonly targets: readonly LiveTarget[];
  /** Whether the state store answers, for all parts of the process. */
  readonly stateOutage: Outage;
  /** Room for decoded packs; each target and the fan-out have an account. */
  readonly budget: ByteBudget;
  /** Only in Lambda. */
  readonly metrics?: MetricLine;
  readonly log: Logger;
}

/**
 * Opens the stores that the configuration names.
 *
 * @param everyChange see `TargetLogOptions`
 */
export async function openParts(config: Config, log: Logger, everyChange = false): Promise<Parts> {
  const stores = await openStores(config, (damaged) => log.error({ event: "queue-damaged", ...damaged }, damagedText));
  const { controls } = stores.state;
  const logOf = (target: string) => new TargetLog({ target, log, everyChange });
  return {
    config,
    stores,
    targets: config.targets.map((target) => new LiveTarget(target, controls, Date.now, logOf(target.name))),
    stateOutage: createStateOutage(log),
    budget: new ByteBudget(config.host.bufferBytes),
    log,
  };
}

/** @param figures by target name */
export function wireFanOut(
  { config, stores, targets, stateOutage, budget, metrics, log }: Parts,
  figures: ReadonlyMap<string, FigureBook>,
): Hono<{ Bindings: Invocation }> {
  return createFanOut({
    targets,
    queueOf: (target) => stores.queueOf(target).entrance,
    captures: createSinks(config.captures, stores.archives, log),
    ingress: stores.ingress.queue,
    deadLetters: stores.ingress.deadLetters,
    ledger: stores.state.ledger,
    figures,
    stateOutage,
    room: budget.accountOf(ingressQueue),
    ...(metrics && { metrics }),
    log,
  });
}

export function wireFeeder(
  { stores, targets, metrics, log }: Parts,
  times: Pick<FeederOptions, "lookAheadMs" | "leadMs" | "leaseMs" | "maxWaiting" | "idleMs">,
): Feeder {
  return new Feeder({
    jobs: stores.state.jobs,
    ledger: stores.state.ledger,
    targets,
    queueOf: (target) => stores.queueOf(target).entrance,
    archives: stores.archives,
    ...times,
    ...(metrics && { metrics }),
    log,
  });
}
