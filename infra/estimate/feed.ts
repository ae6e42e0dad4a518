import type { TargetConfig } from "../../relay/config/config.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import { type Flow, toShare } from "./traffic.ts";

// Measured by `npm run bench`: writes and reads of the ledger, pack numbers and figures for each pack of a target.
const writesAPack = 3.48;
const readsAPack = 2.17;
// Each function takes a seat in a round of slots, once a second; with more functions, rounds are longer.
const mostSeatsPerSecond = 50;
const answerSeconds = 0.05;
const cpuSecondsARequest = 0.001;

/** The traffic of one target. */
export interface Feed {
  readonly target: TargetConfig;
  readonly replay: FunctionLayout;
  readonly flow: Flow;
  /** Requests a second that are sent: no more than the target's rate. */
  readonly sentPerSecond: number;
}

export function toFeed(target: TargetConfig, { stacks }: Layout, ingress: Flow): Feed {
  const replay = stacks.flatMap(({ functions }) => functions).find((one) => one.target === target.name);
  if (!replay) throw new Error(`the layout has no replay function for ${target.name}`);
  const flow = toShare(ingress, target.sample.fraction);
  return { target, replay, flow, sentPerSecond: Math.min(flow.requestsPerSecond, target.ratePerSecond) };
}

/** How long a request keeps a function busy, if the function always has others in flight. */
export function secondsARequest({ concurrency }: TargetConfig): number {
  return Math.max(answerSeconds / concurrency, cpuSecondsARequest);
}

/** The units that DynamoDB bills. */
interface TableUnits {
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
}

/** The units for the packs of a target or a capture. */
export function toUnits({ packsPerSecond }: Flow): TableUnits {
  return { writesPerSecond: packsPerSecond * writesAPack, readsPerSecond: packsPerSecond * readsAPack };
}

/** Adds the rounds of slots: every function that sends takes part in them. */
export function toFeedUnits({ target, flow, sentPerSecond }: Feed): TableUnits {
  const { writesPerSecond, readsPerSecond } = toUnits(flow);
  if (!Number.isFinite(target.ratePerSecond) || sentPerSecond === 0) return { writesPerSecond, readsPerSecond };
  const seats = Math.min(mostSeatsPerSecond, Math.max(1, sentPerSecond * secondsARequest(target)));
  // All but the one that closes the round read it once.
  return { writesPerSecond: writesPerSecond + seats, readsPerSecond: readsPerSecond + seats - 1 };
}
