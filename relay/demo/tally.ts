import type { LoggedRequest } from "./access-log.ts";
import type { Received } from "./json-server.ts";

/** What happened to a set of requests, each with a path of its own. */
export interface Tally {
  /** Requests that HAProxy was to mirror. */
  readonly offered: number;
  /** Requests that arrived at least once. */
  readonly arrived: number;
  /** Arrivals of requests that had arrived before. */
  readonly repeated: number;
  /** Requests that HAProxy gave up and that did not arrive, by their `mirror_err`. */
  readonly leftOut: ReadonlyMap<number, number>;
}

export function toTally(logged: readonly LoggedRequest[], received: readonly Received[]): Tally {
  const arrived = new Set(received.map(({ path }) => path.split("?")[0]));
  const leftOut = new Map<number, number>();
  for (const { path, error } of logged) {
    // A request that timed out may have reached the agent, which was only late to acknowledge it.
    if (error !== undefined && !arrived.has(path)) leftOut.set(error, (leftOut.get(error) ?? 0) + 1);
  }
  const offered = logged.filter((request) => request.offered).length;
  return { offered, arrived: arrived.size, repeated: received.length - arrived.size, leftOut };
}

export function countLeftOut({ leftOut }: Tally): number {
  return [...leftOut.values()].reduce((total, count) => total + count, 0);
}

/** Whether every request arrived once or HAProxy names why it did not, and at least half of them arrived. */
export function isMirrored(tally: Tally): boolean {
  const { offered, arrived, repeated } = tally;
  return arrived + countLeftOut(tally) === offered && repeated === 0 && arrived >= offered / 2;
}

/** @param fact what is true of those that arrived, such as "mirrored" */
export function formatArrivals(tally: Tally, fact: string): string {
  const leftOut = countLeftOut(tally);
  const lost = tally.offered - tally.arrived - leftOut;
  const named = leftOut === 0 ? "" : `, ${leftOut} left out by HAProxy`;
  const again = tally.repeated === 0 ? "" : `, ${tally.repeated} of them sent again`;
  return `${tally.arrived} ${fact}${again}${named}${lost > 0 ? `, ${lost} acknowledged and lost` : ""}`;
}

/** The reasons for which HAProxy left requests out, one per line, and what to do about them. */
export function formatLeftOut(tally: Tally): string {
  const reasons = [...tally.leftOut].map(([error, count]) => `   ${count} × mirror_err=${error}: ${toReason(error)}`);
  return `HAProxy left out ${countLeftOut(tally)} of ${tally.offered} requests that it was to mirror:
${reasons.join("\n")}
   spoa-relay did not receive them. If this machine is busy, end other programs and run the demo again. Else see
   "Troubleshooting" in agent/README.md, which lists the values of mirror_err.`;
}

function toReason(error: number): string {
  if (error === 1) return "the agent did not answer within `timeout processing`";
  if (error === 2 || error === 257) return "no agent was up, or connecting to it took longer than `timeout connect`";
  if (error === 3 || error === 259) return "the request was larger than a frame";
  if (error >= 256) return "the connection to the agent failed";
  return "HAProxy gave up for another reason";
}
