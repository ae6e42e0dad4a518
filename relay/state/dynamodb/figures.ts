import type { Figures, MinuteFigures } from "../port.ts";
import { figuresPartition } from "./keys.ts";
import type { TableClient } from "./table-client.ts";

/** Stores the counters of each target and minute in one item. */
export class DynamoDbFigures implements Figures {
  readonly #client: TableClient;

  constructor(client: TableClient) {
    this.#client = client;
  }

  async add(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void> {
    if (counts.size === 0) return;
    const counters = [...counts];
    // A single attempt: a retry would count twice if only the answer to the first attempt was lost.
    await this.#client.updateOnce(
      { pk: figuresPartition(target), sk: toSortKey(minuteMs) },
      {
        update: `SET expiresAt = :expiresAt ADD ${counters.map((_, i) => `#${i} :${i}`).join(", ")}`,
        names: Object.fromEntries(counters.map(([name], i) => [`#${i}`, prefix + name])),
        values: {
          ":expiresAt": { N: `${Math.ceil(minuteMs / 1_000) + keptSeconds}` },
          ...Object.fromEntries(counters.map(([, count], i) => [`:${i}`, { N: `${count}` }])),
        },
      },
    );
  }

  async read(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]> {
    if (fromMs >= untilMs) return [];
    const items = await this.#client.query(figuresPartition(target), {
      from: toSortKey(fromMs),
      until: toSortKey(untilMs - 1),
    });
    return items.map((item) => ({
      minuteMs: Date.parse(String(item.sk.S)),
      counts: new Map(
        Object.entries(item).flatMap(([name, { N }]) =>
          name.startsWith(prefix) && N !== undefined ? [[name.slice(prefix.length), Number(N)]] : [],
        ),
      ),
    }));
  }
}

const keptSeconds = 14 * 86_400;
// Separates counters from other attributes: a counter may have any name, even that of a key.
const prefix = "n.";

/** All keys have the same length, so their order is the order of time. */
function toSortKey(ms: number): string {
  return new Date(ms).toISOString();
}
