import { randomBytes } from "node:crypto";
import type { FigurePart, Figures, MinuteFigures } from "../port.ts";
import { figuresPartition } from "./keys.ts";
import type { TableClient } from "./table-client.ts";

/** Stores the counters of each target and minute in one item. */
export class DynamoDbFigures implements Figures {
  readonly #client: TableClient;

  constructor(client: TableClient) {
    this.#client = client;
  }

  async add(
    target: string,
    minuteMs: number,
    counts: ReadonlyMap<string, number>,
    part: FigurePart = { writer: randomBytes(4).toString("base64url"), number: 1 },
  ): Promise<void> {
    if (counts.size === 0) return;
    const counters = [...counts];
    // If the condition fails, the part was added before, and only the answer was lost.
    await this.#client.update(
      { pk: figuresPartition(target), sk: toSortKey(minuteMs) },
      {
        update: `SET expiresAt = :expiresAt, #part = :part ADD ${counters.map((_, i) => `#${i} :${i}`).join(", ")}`,
        condition: "attribute_not_exists(#part) OR #part < :part",
        names: {
          "#part": partPrefix + part.writer,
          ...Object.fromEntries(counters.map(([name], i) => [`#${i}`, toAttribute(name)])),
        },
        values: {
          ":expiresAt": { N: `${Math.ceil(minuteMs / 1_000) + keptSeconds}` },
          ":part": { N: `${part.number}` },
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
        Object.entries(item).flatMap(([attribute, { N }]) => {
          const name = toCounter(attribute);
          return name !== undefined && N !== undefined ? [[name, Number(N)]] : [];
        }),
      ),
    }));
  }
}

const keptSeconds = 14 * 86_400;
// Separates counters from other attributes: a counter may have any name, even that of a key.
const prefix = "n.";
const partPrefix = "w.";
// Nearly all counters are those of times, such as `l42` (see `bucketOf`). Every kilobyte is billed with each write, so each of
// them has a name of two characters: its number in base64url. The numbers are below those of `pk` and `sk`, the table's keys.
const series = ["l", "f", "c", "a"];
const bucketsMost = 400;
const bucket = /^([lfca])(0|[1-9]\d{0,2})$/;
const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

function toAttribute(counter: string): string {
  const [, letter, index] = bucket.exec(counter) ?? [];
  if (letter === undefined || Number(index) >= bucketsMost) return prefix + counter;
  const number = series.indexOf(letter) * bucketsMost + Number(index);
  return digits[number >> 6] + digits[number & 63];
}

function toCounter(attribute: string): string | undefined {
  if (attribute.startsWith(prefix)) return attribute.slice(prefix.length);
  const [high, low] = Array.from(attribute, (digit) => digits.indexOf(digit));
  const number = high * 64 + low;
  if (attribute.length !== 2 || high < 0 || low < 0 || number >= series.length * bucketsMost) return undefined;
  return series[Math.floor(number / bucketsMost)] + (number % bucketsMost);
}

/** All keys have the same length, so their order is the order of time. */
function toSortKey(ms: number): string {
  return new Date(ms).toISOString();
}
