import type { TargetConfig } from "../../relay/config/config.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import { type Flow, toShare } from "./traffic.ts";

// Measured by `npm run bench`: writes and reads of the ledger, pack numbers and figures for each pack of a target.
const writesAPack = 3.48;
const readsAPack = 2.17;
const leasesPerSecond = 4;

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

/** The units that DynamoDB bills. */
interface TableUnits {
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
}

/** The units for the packs of a target or a capture. */
export function toUnits({ packsPerSecond }: Flow): TableUnits {
  return { writesPerSecond: packsPerSecond * writesAPack, readsPerSecond: packsPerSecond * readsAPack };
}

/** Adds the leases: while requests are sent, a worker leases slots for a quarter of a second at a time. */
export function toFeedUnits({ target: { ratePerSecond }, flow, sentPerSecond }: Feed): TableUnits {
  const { writesPerSecond, readsPerSecond } = toUnits(flow);
  const leases = Number.isFinite(ratePerSecond) ? (leasesPerSecond * sentPerSecond) / ratePerSecond : 0;
  return { writesPerSecond: writesPerSecond + leases, readsPerSecond };
}
