import { type SlotLeases, StateError } from "../port.ts";
import { clockToleranceUs, horizonUs, maxRequestAgeMs, type SlotGrant, type SlotRequest } from "../slot-lease.ts";
import { targetPartition } from "./keys.ts";
import type { Change, Item, TableClient } from "./table-client.ts";

/**
 * Stores the slot leases of each target in one item: the time of the next slot, `tat`, in whole picoseconds. Microseconds
 * would be rounded at each lease, and a rate such as 3/s would drift; DynamoDB calculates with 38 digits. If the answer to a
 * call is lost, its lease may have been granted; its slots are then not used.
 */
export class DynamoDbLeases implements SlotLeases {
  readonly #client: TableClient;
  readonly #timeoutMs: number;
  readonly #now: () => number;
  readonly #lastTats = new Map<string, bigint>();

  /** @param now milliseconds since 1970 */
  constructor(client: TableClient, timeoutMs: number, now: () => number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#now = now;
  }

  /** Throws `StateError`. Its calls have a short timeout, so that the answer arrives before the slots have passed. */
  async take(target: string, request: SlotRequest): Promise<SlotGrant> {
    const askedAtMs = this.#now();
    const step = toStep(request);
    const key = { pk: targetPartition(target), sk: "pace" };
    let tat = this.#lastTats.get(target);
    let current = false;
    for (let tries = 0; tries < triesMost; tries++) {
      // The remembered time may be outdated: a lease is refused only by a time that was just read from the table.
      if (current && isRefused(tat, step)) return { granted: false, retryAtUs: toUs(tat - step.aheadPs + usPs - 1n) };
      // The first call of a process fetches credentials and connects; it may have taken seconds.
      if (isLost(tat, step) && this.#now() - askedAtMs > maxRequestAgeMs) {
        return { granted: false, retryAtUs: request.nowUs };
      }
      const { written, item } = await this.#client.update(key, toChange(tat, step), this.#timeoutMs);
      tat = readTat(item);
      current = true;
      if (tat !== undefined) this.#lastTats.set(target, tat);
      if (written && tat !== undefined) return { granted: true, startUs: toUs(tat - step.incPs) };
    }
    throw new StateError(
      `no slots leased for target ${target}: other workers were faster ${triesMost} times; this is temporary`,
    );
  }
}

const usPs = 1_000_000n;
// A worker that loses a race usually wins the next: the lease of the other worker makes an idle target a busy one.
const triesMost = 8;

/** A request in picoseconds. */
interface Step {
  readonly nowPs: bigint;
  readonly incPs: bigint;
  /** Maximum distance from now to the start of a lease. */
  readonly aheadPs: bigint;
  /** No lease at this rate can lead beyond this time. */
  readonly lostPs: bigint;
}

function toStep({ nowUs, slotUs, slots }: SlotRequest): Step {
  const nowPs = BigInt(Math.floor(nowUs)) * usPs;
  // Rounded up: the mean never exceeds the rate.
  const incPs = BigInt(Math.ceil(slots * slotUs * 1e6));
  const aheadPs = BigInt(horizonUs * 1e6);
  return { nowPs, incPs, aheadPs, lostPs: nowPs + aheadPs + incPs + BigInt(clockToleranceUs) * usPs };
}

function isRefused(tat: bigint | undefined, { nowPs, aheadPs, lostPs }: Step): tat is bigint {
  return tat !== undefined && tat > nowPs + aheadPs && tat <= lostPs;
}

function isLost(tat: bigint | undefined, { lostPs }: Step): tat is bigint {
  return tat !== undefined && tat > lostPs;
}

/** The change that fits the last known time of the next slot. Its condition fails if that time no longer fits. */
function toChange(tat: bigint | undefined, step: Step): Change {
  const { nowPs, incPs, aheadPs } = step;
  if (isLost(tat, step)) {
    return {
      update: "SET tat = :new",
      condition: "tat = :seen",
      values: { ":new": toNumber(nowPs + incPs), ":seen": toNumber(tat) },
    };
  }
  if (tat === undefined || tat < nowPs) {
    return {
      update: "SET tat = :new",
      condition: "attribute_not_exists(tat) OR tat < :now",
      values: { ":new": toNumber(nowPs + incPs), ":now": toNumber(nowPs) },
    };
  }
  return {
    update: "SET tat = tat + :inc",
    condition: "tat >= :now AND tat <= :max",
    values: { ":inc": toNumber(incPs), ":now": toNumber(nowPs), ":max": toNumber(nowPs + aheadPs) },
  };
}

function readTat(item: Item | undefined): bigint | undefined {
  const number = item?.tat?.N;
  return number === undefined ? undefined : BigInt(number);
}

function toNumber(ps: bigint): { readonly N: string } {
  return { N: `${ps}` };
}

/** Rounds down to whole microseconds. */
function toUs(ps: bigint): number {
  return Number(ps / usPs);
}
