import type { MeteredCall } from "../bench/metered-endpoint.ts";

/** What the calls of one kind have used: in all, and at the partition key that was used most. */
export interface KeyUse {
  readonly writes: number;
  readonly reads: number;
  readonly writesOfOneKey: number;
  readonly readsOfOneKey: number;
  /** Units of the largest single write: the size of the item in KB. */
  readonly largestWrite: number;
}

interface Use {
  writes: number;
  reads: number;
}

/** Counts the capacity units of DynamoDB by partition key. Calls must set `ReturnConsumedCapacity`. */
export class KeyMeter {
  readonly #kinds = new Map<string, { readonly keys: Map<string, Use>; largest: number }>();
  /** False to leave out calls that a real process would not make. */
  counting = true;

  take({ action, status, body, answer }: MeteredCall): void {
    if (!this.counting) return;
    const all = [answer.ConsumedCapacity ?? []].flat() as { readonly CapacityUnits: number }[];
    const consumed = all.reduce((sum, { CapacityUnits }) => sum + CapacityUnits, 0);
    const keys = keysOf(body);
    for (const key of keys) {
      const kind = this.#kindOf(key);
      const use = kind.keys.get(key) ?? { writes: 0, reads: 0 };
      kind.keys.set(key, use);
      if (/^(?:Get|BatchGet|Query)/.test(action)) use.reads += consumed / keys.length;
      else {
        // A write whose condition fails is billed as well; emulators do not return its units.
        use.writes += status === 200 ? consumed : 1;
        kind.largest = Math.max(kind.largest, consumed);
      }
    }
  }

  get byKind(): ReadonlyMap<string, KeyUse> {
    return new Map(
      Array.from(this.#kinds, ([kind, { keys, largest }]) => {
        const [writes, reads] = [
          [...keys.values()].map((use) => use.writes),
          [...keys.values()].map((use) => use.reads),
        ];
        return [
          kind,
          {
            writes: sum(writes),
            reads: sum(reads),
            writesOfOneKey: Math.max(...writes),
            readsOfOneKey: Math.max(...reads),
            largestWrite: largest,
          },
        ];
      }),
    );
  }

  #kindOf(key: string) {
    const name = key.split("#")[0];
    const kind = this.#kinds.get(name) ?? { keys: new Map<string, Use>(), largest: 0 };
    this.#kinds.set(name, kind);
    return kind;
  }
}

/** The partition keys of a call, one for each item. */
function keysOf(body: MeteredCall["body"]): readonly string[] {
  if (body.Key) return [body.Key.pk.S];
  if (body.RequestItems) {
    const [{ Keys }] = Object.values<{ readonly Keys: readonly { readonly pk: { readonly S: string } }[] }>(
      body.RequestItems,
    );
    return Keys.map(({ pk }) => pk.S);
  }
  return [body.ExpressionAttributeValues[":pk"].S];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
