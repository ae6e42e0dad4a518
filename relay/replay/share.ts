import type { TargetConfig } from "../config/config.ts";
import type { Pack, PackedRequest } from "../pack/pack.ts";
import { isSampled } from "../rules/sample.ts";
import { matches } from "../rules/when.ts";
import type { Fate, Settlement } from "../state/port.ts";

/** The part of a pack that is for a target, and why the target does not receive the rest. */
export interface Share {
  readonly requests: readonly PackedRequest[];
  readonly settlement: Settlement;
}

/** The settings of a target or a capture that decide which requests it receives. */
type Recipient = Pick<TargetConfig, "name" | "sample" | "when">;

/** @param fraction the share of the requests that the target receives now, 0 to 1 */
export function shareOf(target: Recipient, fraction: number, pack: Pack): Share {
  const settlement = new Map<number, Fate>();
  const requests = pack.requests.filter((request) => {
    const fate = fateAtFanOut(target, fraction, request);
    if (fate !== undefined) settlement.set(request.index, fate);
    return fate === undefined;
  });
  return { requests, settlement };
}

function fateAtFanOut(target: Recipient, fraction: number, request: PackedRequest): Fate | undefined {
  if (target.when && !matches(target.when, request)) return "filtered";
  return isSampled({ ...target.sample, fraction }, target.name, request) ? undefined : "sampledOut";
}
