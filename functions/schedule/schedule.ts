import { Hono } from "hono";
import type { TargetConfig } from "../../relay/config/config.ts";
import type { Logger } from "../../relay/log/log.ts";
import { Outage } from "../../relay/log/outage.ts";
import { whyHeld } from "../../relay/replay/live-target.ts";
import type { Controls } from "../../relay/state/port.ts";
import { closeBreaker } from "../../relay/state/target-control.ts";
import type { Invocation } from "../batch.ts";
import type { MappingSwitches } from "../host/event-source-mapping.ts";

export interface ScheduleDeps {
  readonly targets: readonly TargetConfig[];
  readonly controls: Controls;
  readonly switches: MappingSwitches;
  /** ARNs of replay functions by target name. Targets without one are not switched. */
  readonly mappings: ReadonlyMap<string, string>;
  /** Tidies up the state store each minute. */
  readonly fold?: () => Promise<unknown>;
  /** Merges captures each minute, and deletes expired objects. */
  readonly upkeep?: () => Promise<unknown>;
  /** Puts the packs of replay jobs that are due soon into their queues. */
  readonly feed?: (signal: AbortSignal) => Promise<unknown>;
  /** Notes in the state which queue each target has. */
  readonly remember?: () => Promise<unknown>;
  /** Counts the metrics that are read from the state store each minute. */
  readonly measure?: () => Promise<unknown>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly log: Logger;
}

const taskTexts = {
  down: ["schedule-failed", "a task of the schedule failed: retrying in a minute"],
  up: ["schedule-resumed", "the task of the schedule works again"],
  // The schedule itself runs once a minute.
  everyMs: 0,
} as const;

/**
 * Receives an event each minute by POST. Switches off the event source mapping of a target while the target is paused or
 * outside its windows, so that packs wait in its queue at no cost, and switches it on again afterwards. Tidies up the state
 * store and the captures, and feeds replay jobs. Answers 500 if one of these tasks fails; the others are still done.
 */
export function createSchedule(deps: ScheduleDeps): Hono<{ Bindings: Invocation }> {
  const { targets, mappings, fold, upkeep, feed, remember, measure, log } = deps;
  const app = new Hono<{ Bindings: Invocation }>();
  const outages = new Map<string, Outage>();
  const outageOf = (what: string) => {
    const outage = outages.get(what) ?? new Outage(log, { ...taskTexts, about: { what } });
    outages.set(what, outage);
    return outage;
  };
  app.post("/", async (context) => {
    const work = targets.flatMap((target) => {
      const functionArn = mappings.get(target.name);
      return functionArn === undefined ? [] : [{ what: target.name, done: switchTarget(deps, target, functionArn) }];
    });
    if (fold) work.push({ what: "state", done: fold().then(() => {}) });
    const { signal = new AbortController().signal } = context.env ?? {};
    if (feed) work.push({ what: "replay jobs", done: feed(signal).then(() => {}) });
    if (upkeep) work.push({ what: "captures", done: upkeep().then(() => {}) });
    if (remember) work.push({ what: "queues", done: remember().then(() => {}) });
    if (measure) work.push({ what: "metrics", done: measure().then(() => {}) });
    const results = await Promise.allSettled(work.map(({ done }) => done));
    const failed = work.filter((_, i) => results[i].status === "rejected").map(({ what }) => what);
    for (const [i, result] of results.entries()) {
      const outage = outageOf(work[i].what);
      if (result.status === "fulfilled") outage.recover();
      else outage.fail((result.reason as Error).message);
    }
    return failed.length === 0 ? context.json({}) : context.text(`failed: ${failed.join(", ")}`, 500);
  });
  return app;
}

async function switchTarget(
  { controls, switches, now = Date.now, log }: ScheduleDeps,
  target: TargetConfig,
  functionArn: string,
): Promise<void> {
  const { control } = await controls.read(target.name);
  // An open breaker does not switch the mapping off: its probes need packs.
  const held = whyHeld(target, closeBreaker(control), now());
  const wanted = held === undefined;
  if (!(await switches.turn(functionArn, wanted))) return;
  log.info(
    { event: "switched", target: target.name, on: wanted, reason: held },
    `the event source mapping of the target was switched ${wanted ? "on" : "off"}`,
  );
}
