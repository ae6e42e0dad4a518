import type { TargetConfig } from "../../relay/config/config.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import { type Flow, toShare } from "./traffic.ts";

// Measured by `npm run bench`: ledger, pack numbers and figures, for each pack that comes to a target.
const writesAPack = 3.48;
const readsAPack = 2.17;
const leasesPerSecond = 4;

/** What one target gets. */
export interface Feed {
  readonly target: TargetConfig;
  readonly replay: FunctionLayout;
  readonly flow: Flow;
  /** What its rate lets through. */
  readonly sentPerSecond: number;
}

export function toFeed(target: TargetConfig, { stacks }: Layout, ingress: Flow): Feed {
  const replay = stacks.flatMap(({ functions }) => functions).find((one) => one.target === target.name);
  if (!replay) throw new Error(`the layout has no replay function for ${target.name}`);
  const flow = toShare(ingress, target.sample.fraction);
  return { target, replay, flow, sentPerSecond: Math.min(flow.requestsPerSecond, target.ratePerSecond) };
}

/** What DynamoDB bills. */
interface TableUnits {
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
}

/** For what comes of packs at a target or in a capture. */
export function toUnits({ packsPerSecond }: Flow): TableUnits {
  return { writesPerSecond: packsPerSecond * writesAPack, readsPerSecond: packsPerSecond * readsAPack };
}

/** Slots are leased while something is sent, a quarter of a second at a time. */
export function toFeedUnits({ target: { ratePerSecond }, flow, sentPerSecond }: Feed): TableUnits {
  const { writesPerSecond, readsPerSecond } = toUnits(flow);
  const leases = Number.isFinite(ratePerSecond) ? (leasesPerSecond * sentPerSecond) / ratePerSecond : 0;
  return { writesPerSecond: writesPerSecond + leases, readsPerSecond };
}
