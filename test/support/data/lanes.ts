import { onTestFinished } from "vitest";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { FigureBook } from "../../../relay/replay/figure-book.ts";
import { createLane, type Lane } from "../../../relay/replay/lane.ts";
import type { LiveRate } from "../../../relay/replay/live-rate.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { type SlotRounds, type State, StateError } from "../../../relay/state/port.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

/** A state in a directory of its own that is removed after the test. */
export function openState(now?: () => number): EmbeddedState {
  const state = EmbeddedState.open(temporaryDirectory(), now);
  onTestFinished(() => state.close());
  return state;
}

/** A lane with a real transport, which is closed at the end of the test. */
export function laneOf(config: TargetConfig, state: State, pacer?: Pacer): Lane {
  const transport = new Transport(config);
  onTestFinished(() => transport.close());
  const live = new LiveTarget(config, state.controls);
  const figures = new FigureBook(config.name, state.figures);
  return createLane({ live, transport, pacer: pacer ?? new Pacer(config.name, live, state.rounds), figures });
}

/** A rate that never changes. */
export function fixedRate(ratePerSecond: number): LiveRate {
  return { ratePerSecond, refresh: async () => {} };
}

/** Slot rounds of a state that fails as soon as the first round is open, or at once. */
export function failingRounds(when: "at once" | "after the first round"): SlotRounds {
  const { rounds } = openState();
  const fail = () => Promise.reject(new StateError("the state is gone"));
  if (when === "at once") return { read: fail, enter: fail, close: fail, open: fail };
  return { read: (name) => rounds.read(name), open: (...args) => rounds.open(...args), enter: fail, close: fail };
}
