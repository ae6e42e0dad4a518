import { onTestFinished } from "vitest";
import type { TargetConfig } from "../../relay/config.ts";
import { FigureBook } from "../../relay/figure-book.ts";
import { createLane, type Lane } from "../../relay/lane.ts";
import { LiveTarget } from "../../relay/live-target.ts";
import { type LiveRate, Pacer } from "../../relay/pacer.ts";
import { EmbeddedState } from "../../relay/state/embedded.ts";
import type { State } from "../../relay/state/port.ts";
import { Transport } from "../../relay/transport.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** A state in a directory of its own that goes with the test. */
export function openState(now?: () => number): EmbeddedState {
  const state = EmbeddedState.open(temporaryDirectory(), now);
  onTestFinished(() => state.close());
  return state;
}

/** A lane with a real transport, which is closed at the end of the test. */
export function laneOf(config: TargetConfig, state: State, pacer?: Pacer): Lane {
  const transport = new Transport(config);
  onTestFinished(() => transport.close());
  const live = new LiveTarget(config, state);
  const figures = new FigureBook(config.name, state);
  return createLane({ live, transport, pacer: pacer ?? new Pacer(config.name, live, state), figures });
}

/** A rate that never changes. */
export function fixedRate(ratePerSecond: number): LiveRate {
  return { ratePerSecond, refresh: async () => {} };
}
