import type { TargetConfig } from "../../relay/config/config.ts";
import type { FunctionLayout } from "../function-layout.ts";
import type { Layout } from "../layout.ts";
import { batchesPerSecond, type Flow, toShare } from "./traffic.ts";

// As `npm run bench` counts them, with one agent. With many agents and functions the packs of a group are written by several
// functions at different times: `npm run simulate:store` shows four to nine times as many writes.
const packsOfGroup = 20;
// Each function takes a seat in a round of slots, every 0.6 s; with more functions, rounds are longer.
const roundsPerSecond = 1.6;
const mostSeatsPerSecond = 50;
// Figures of a target: the item of a minute is a little above 1 KB for some shadows.
const figureWrites = 1.3;
// Size of a group's item in KB: keys and marks, and the fates of its packs at one target.
const groupKb = 0.35;
const targetKb = 0.28;
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

/** The units that DynamoDB bills. */
interface TableUnits {
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
}

/** Time of a function for a request: at least 1 / rate, since functions that wait for slots are billed. */
export function secondsOfRequest({ ratePerSecond, concurrency }: TargetConfig): number {
  return Math.max(1 / ratePerSecond, answerSeconds / concurrency, cpuSecondsARequest);
}

/**
 * The units for recording that packs were fanned out: for each batch a write of the function's sums, and one for each group of
 * packs. A single target that takes everything records the same.
 *
 * @param names the number of targets and captures
 */
export function toFanOutUnits(ingress: Flow, names: number): TableUnits {
  const batches = batchesPerSecond(ingress);
  const groups = batches === 0 ? 0 : groupsOf(ingress.packsPerSecond / batches);
  return { writesPerSecond: batches * (1 + groups * groupUnits(names)), readsPerSecond: batches };
}

/**
 * The units of a replay. It reads each group of a batch, and its settings each second. A commit writes the fates of all packs
 * since the last one, with the function's sums: one each second and one at the end of a batch, when half a second has passed on
 * average. It adds figures after each batch, and takes part in the rounds of slots.
 *
 * @param names the number of targets and captures
 */
export function toFeedUnits({ target, flow, sentPerSecond }: Feed, names: number): TableUnits {
  const { ratePerSecond } = target;
  const batches = batchesPerSecond(flow);
  const sending = sentPerSecond * secondsOfRequest(target);
  const commits = Math.max(batches, sending + batches / 2);
  const groups = commits === 0 ? 0 : groupsOf(flow.packsPerSecond / commits);
  const limited = Number.isFinite(ratePerSecond) && sentPerSecond > 0;
  const seats = limited ? Math.min(mostSeatsPerSecond, roundsPerSecond * Math.max(1, sending)) : 0;
  const groupReads = batches === 0 ? 0 : groupsOf(flow.packsPerSecond / batches) * Math.ceil(groupUnits(names) / 4);
  return {
    writesPerSecond: commits * (1 + groups * groupUnits(names)) + batches * figureWrites + seats,
    // All functions but the one that closes a round read it.
    readsPerSecond: batches * groupReads + Math.max(batches, sending) + Math.max(0, seats - roundsPerSecond),
  };
}

/** The number of groups that this number of packs in a row belongs to, on average. */
function groupsOf(packs: number): number {
  return 1 + Math.max(0, packs - 1) / packsOfGroup;
}

/** Units for a write of a group's item: one for each KB. */
function groupUnits(names: number): number {
  return Math.ceil(groupKb + targetKb * names);
}
