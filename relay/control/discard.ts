import type { Delivery } from "../queue/port.ts";
import type { Fate, Ledger } from "../state/port.ts";
import {
  type Handled,
  keyOf,
  redrivesOf,
  remove,
  type SweepOptions,
  type Swept,
  sweep,
  toHandled,
  toLetters,
} from "./sweep.ts";

export interface DiscardOptions extends SweepOptions {
  readonly target: string;
  readonly ledger: Pick<Ledger, "sheet" | "settle">;
}

/**
 * Removes dead letters for good; in the ledger their requests are `discarded`. That is noted before they are deleted: after an
 * interruption, what is left of them is obsolete. Throws `QueueError` and `StateError`.
 */
export function discard(options: DiscardOptions): Promise<Swept> {
  return sweep(options, (deliveries, held) => giveUp(options, deliveries, held));
}

async function giveUp(options: DiscardOptions, deliveries: readonly Delivery[], held: Set<string>): Promise<Handled> {
  const { deadLetters, target, ledger } = options;
  const letters = await toLetters(options, deliveries);
  for (const { pack, requests } of letters) {
    if (requests.length === 0) continue;
    const discarded = new Map<number, Fate>(requests.map(({ index }) => [index, "discarded"]));
    await ledger.settle(keyOf(target, pack), pack.id, discarded, redrivesOf(pack) + 1);
  }
  await remove(deadLetters, deliveries, held);
  return toHandled(deliveries, letters);
}
