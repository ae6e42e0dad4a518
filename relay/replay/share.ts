import type { TargetConfig } from "../config/config.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import { isSampled } from "../rules/sample.ts";
import { matches } from "../rules/when.ts";
import type { Fate, Settlement } from "../state/port.ts";

/** The part of a pack that a target gets, and why it does not get the rest. */
export interface Share {
  readonly requests: readonly PackedRequest[];
  readonly settlement: Settlement;
}

/** What decides which requests a target gets, or a capture. */
type Taker = Pick<TargetConfig, "name" | "sample" | "when">;

/** @param fraction the share of the requests that the target gets now, 0 to 1 */
export function shareOf(target: Taker, fraction: number, pack: Pack): Share {
  const settlement = new Map<number, Fate>();
  const requests = pack.requests.filter((request) => {
    const fate = fateAtFanOut(target, fraction, request);
    if (fate !== undefined) settlement.set(request.index, fate);
    return fate === undefined;
  });
  return { requests, settlement };
}

function fateAtFanOut(target: Taker, fraction: number, request: PackedRequest): Fate | undefined {
  if (target.when && !matches(target.when, request)) return "filtered";
  return isSampled({ ...target.sample, fraction }, target.name, request) ? undefined : "sampledOut";
}
