import { type SlotLeases, StateError } from "../port.ts";
import { clockToleranceUs, horizonUs, maxRequestAgeMs, type SlotGrant, type SlotRequest } from "../slot-lease.ts";
import { targetPartition } from "./keys.ts";
import type { Change, Item, TableClient } from "./table-client.ts";

/**
 * Slot leases in one item a target: the time of the next slot, `tat`, in whole picoseconds. Microseconds would have to be
 * rounded at each lease, and a rate such as 3/s would drift; DynamoDB counts with 38 digits. A lease whose answer was lost
 * may have been granted: its slots are then nobody's.
 */
export class DynamoDbLeases implements SlotLeases {
  readonly #client: TableClient;
  readonly #timeoutMs: number;
  readonly #now: () => number;
  readonly #lastTats = new Map<string, bigint>();

  /** @param now in milliseconds since 1970 */
  constructor(client: TableClient, timeoutMs: number, now: () => number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#now = now;
  }

  /** Throws `StateError`, soon enough for the slots of whoever asks. */
  async take(target: string, request: SlotRequest): Promise<SlotGrant> {
    const askedAtMs = this.#now();
    const step = toStep(request);
    const key = { pk: targetPartition(target), sk: "pace" };
    let tat = this.#lastTats.get(target);
    let told = false;
    for (let tries = 0; tries < triesMost; tries++) {
      // What was remembered may have been overtaken: only what the table has just told refuses a lease.
      if (told && isRefused(tat, step)) return { granted: false, retryAtUs: toUs(tat - step.aheadPs + usPs - 1n) };
      // The first call of a process, which fetches credentials and connects, may have taken seconds.
      if (isLost(tat, step) && this.#now() - askedAtMs > maxRequestAgeMs) {
        return { granted: false, retryAtUs: request.nowUs };
      }
      const { written, item } = await this.#client.update(key, toChange(tat, step), this.#timeoutMs);
      tat = readTat(item);
      told = true;
      if (tat !== undefined) this.#lastTats.set(target, tat);
      if (written && tat !== undefined) return { granted: true, startUs: toUs(tat - step.incPs) };
    }
    throw new StateError(
      `no slots leased for target ${target}: other workers were faster ${triesMost} times; this is temporary`,
    );
  }
}

const usPs = 1_000_000n;
// Who loses one race wins the next: somebody else's lease makes an idle target a busy one.
const triesMost = 8;

/** A request in picoseconds. */
interface Step {
  readonly nowPs: bigint;
  readonly incPs: bigint;
  /** How far ahead of now a lease may start. */
  readonly aheadPs: bigint;
  /** Beyond it no lease at this rate can have led. */
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

/** What fits the time of the next slot. Where it is another one by now, the condition fails. */
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

/** The microsecond in which it lies. */
function toUs(ps: bigint): number {
  return Number(ps / usPs);
}
