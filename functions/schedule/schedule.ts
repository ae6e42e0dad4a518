import { Hono } from "hono";
import type { TargetConfig } from "../../relay/config/config.ts";
import type { Logger } from "../../relay/log/log.ts";
import { whyHeld } from "../../relay/replay/live-target.ts";
import type { Controls } from "../../relay/state/port.ts";
import { closeBreaker } from "../../relay/state/target-control.ts";
import type { Invocation } from "../batch.ts";
import type { MappingSwitches } from "../host/event-source-mapping.ts";

export interface ScheduleDeps {
  readonly targets: readonly TargetConfig[];
  readonly controls: Controls;
  readonly switches: MappingSwitches;
  /** ARNs of replay functions by the name of the target. A target that is not here is not switched. */
  readonly mappings: ReadonlyMap<string, string>;
  /** What the state has to do now and then. */
  readonly fold?: () => Promise<unknown>;
  /** What captures have to have done each minute. */
  readonly upkeep?: () => Promise<unknown>;
  /** Puts the packs of replay jobs into their queues that are due soon. */
  readonly feed?: (signal: AbortSignal) => Promise<unknown>;
  /** Counts what can be told each minute only. */
  readonly measure?: () => Promise<unknown>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly log: Logger;
}

/**
 * Takes an event each minute by POST. Switches off what brings packs to a target while it is paused or outside its times,
 * so that they wait in its queue and cost nothing, and on again; lets the state tidy up, and captures; feeds replay jobs.
 * Answers 500 where any of this failed; the rest is done all the same.
 */
export function createSchedule(deps: ScheduleDeps): Hono<{ Bindings: Invocation }> {
  const { targets, mappings, fold, upkeep, feed, measure, log } = deps;
  const app = new Hono<{ Bindings: Invocation }>();
  app.post("/", async (context) => {
    const work = targets.flatMap((target) => {
      const functionArn = mappings.get(target.name);
      return functionArn === undefined ? [] : [{ what: target.name, done: switchTarget(deps, target, functionArn) }];
    });
    if (fold) work.push({ what: "state", done: fold().then(() => {}) });
    const { signal = new AbortController().signal } = context.env ?? {};
    if (feed) work.push({ what: "replay jobs", done: feed(signal).then(() => {}) });
    if (upkeep) work.push({ what: "captures", done: upkeep().then(() => {}) });
    if (measure) work.push({ what: "metrics", done: measure().then(() => {}) });
    const results = await Promise.allSettled(work.map(({ done }) => done));
    const failed = work.filter((_, i) => results[i].status === "rejected").map(({ what }) => what);
    for (const [i, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      const { message } = result.reason as Error;
      log.error(
        { event: "schedule-failed", what: work[i].what, reason: message },
        "a task of the schedule failed: retrying in a minute",
      );
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
  // Not for an open breaker: its probes need packs.
  const held = whyHeld(target, closeBreaker(control), now());
  const wanted = held === undefined;
  if (!(await switches.turn(functionArn, wanted))) return;
  log.info(
    { event: "switched", target: target.name, on: wanted, reason: held },
    `the event source mapping of the target was switched ${wanted ? "on" : "off"}`,
  );
}
