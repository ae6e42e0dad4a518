import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type AttributeValue,
  BatchGetItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { ServerClock } from "../../aws/server-clock.ts";
import { Semaphore } from "../../concurrency/semaphore.ts";
import { StateError } from "../port.ts";
import { toStateError } from "./error.ts";
import { stateTable } from "./table-shape.ts";

export interface TableEndpoint {
  readonly table: string;
  readonly region: string;
  /** Undefined: the SDK finds the endpoint itself, for example in AWS_ENDPOINT_URL_DYNAMODB. */
  readonly endpoint?: string | undefined;
}

export interface TableClientOptions extends TableEndpoint {
  /** How long a call may take once it is its turn, including retries. */
  readonly callTimeoutMs: number;
}

export type Item = Readonly<Record<string, AttributeValue>>;

export interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

/** Expressions of DynamoDB; `names` replace the `#` placeholders, `values` the `:` placeholders. */
export interface Change {
  readonly update: string;
  readonly condition: string;
  readonly names?: Record<string, string>;
  readonly values: Record<string, AttributeValue>;
  /** Whether the whole item is returned and not only the attributes that were set. */
  readonly returnAll?: true;
}

/** `item`: if something was written, the attributes that were set, or all; otherwise the existing item, if there is one. */
export interface Changed {
  readonly written: boolean;
  readonly item: Item | undefined;
}

const turnTimeoutMs = 10_000;
// Fewer than the connections of the SDK (50): calls that wait for a connection would time out, and slot rounds could not overtake.
const callsAtOnce = 32;
const { partitionKey, sortKey } = stateTable;
const connectTimeoutMs = 1_000;
const maxAttempts = 2;
const keysPerBatch = 100;
// 50 ms, 100 ms, …: about three seconds in all.
const batchRetries = 6;

/** The operations of the state on its table. All reads are consistent; all methods throw `StateError`. */
export class TableClient {
  readonly #place: TableEndpoint;
  readonly #callTimeoutMs: number;
  /** The clock of DynamoDB. */
  readonly clock: ServerClock;
  readonly #client: DynamoDBClient;
  readonly #turns = new Semaphore(callsAtOnce);
  #answered = false;

  constructor({ callTimeoutMs, ...place }: TableClientOptions) {
    this.#place = place;
    this.#callTimeoutMs = callTimeoutMs;
    const { region, endpoint } = place;
    const shared = { region, ...(endpoint !== undefined && { endpoint }), retryMode: "standard" } as const;
    this.#client = new DynamoDBClient({
      ...shared,
      maxAttempts,
      requestHandler: { connectionTimeout: connectTimeoutMs },
    });
    this.clock = new ServerClock(this.#client);
  }

  close(): void {
    this.#client.destroy();
  }

  /** With `withinMs`, the call does not wait for its turn. */
  async get(key: ItemKey, withinMs?: number): Promise<Item | undefined> {
    const command = new GetItemCommand({ TableName: this.#place.table, Key: toKey(key), ConsistentRead: true });
    const { Item } = await this.#call(
      "GetItem",
      (abortSignal) => this.#client.send(command, { abortSignal }),
      withinMs,
    );
    return Item;
  }

  /** The items that exist, in any order. The keys must be distinct. */
  async getAll(keys: readonly ItemKey[]): Promise<readonly Item[]> {
    const { table } = this.#place;
    const items: Item[] = [];
    for (let start = 0; start < keys.length; start += keysPerBatch) {
      let left: Record<string, AttributeValue>[] = keys.slice(start, start + keysPerBatch).map(toKey);
      for (let retries = 0; left.length > 0; retries++) {
        if (retries > batchRetries) {
          const advice = "bill it by request, or raise its capacity";
          throw new StateError(`DynamoDB throttles table ${table} and left items unread: ${advice}`);
        }
        if (retries > 0) await sleep(25 * 2 ** retries);
        const command = new BatchGetItemCommand({ RequestItems: { [table]: { Keys: left, ConsistentRead: true } } });
        const { Responses, UnprocessedKeys } = await this.#call("BatchGetItem", (abortSignal) =>
          this.#client.send(command, { abortSignal }),
        );
        // The answer may name the table by its name or its ARN. All values are read, since the call names only one table.
        items.push(...Object.values(Responses ?? {}).flat());
        left = Object.values(UnprocessedKeys ?? {}).flatMap(({ Keys = [] }) => Keys);
      }
    }
    return items;
  }

  /** The items of a partition in the order of their sort keys: all, or those between two sort keys, inclusive. */
  async query(pk: string, between?: { readonly from: string; readonly until: string }): Promise<readonly Item[]> {
    const items: Item[] = [];
    let next: Record<string, AttributeValue> | undefined;
    do {
      const command = new QueryCommand({
        TableName: this.#place.table,
        ConsistentRead: true,
        KeyConditionExpression: `${partitionKey} = :pk${between ? ` AND ${sortKey} BETWEEN :from AND :until` : ""}`,
        ExpressionAttributeValues: {
          ":pk": { S: pk },
          ...(between && { ":from": { S: between.from }, ":until": { S: between.until } }),
        },
        ...(next && { ExclusiveStartKey: next }),
      });
      const { Items, LastEvaluatedKey } = await this.#call("Query", (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      items.push(...(Items ?? []));
      next = LastEvaluatedKey;
    } while (next);
    return items;
  }

  /**
   * Writes if the condition holds. `written: false` can also mean that a first attempt wrote and its answer was lost: only
   * the item tells. With `withinMs`, the call does not wait for its turn.
   */
  async update(key: ItemKey, change: Change, withinMs?: number): Promise<Changed> {
    const command = new UpdateItemCommand({
      TableName: this.#place.table,
      Key: toKey(key),
      UpdateExpression: change.update,
      ConditionExpression: change.condition,
      ...(change.names && { ExpressionAttributeNames: change.names }),
      ExpressionAttributeValues: change.values,
      ReturnValues: change.returnAll ? "ALL_NEW" : "UPDATED_NEW",
      ReturnValuesOnConditionCheckFailure: "ALL_OLD",
    });
    const { written, item } = await this.#call(
      "UpdateItem",
      (abortSignal) => this.#updateIf(command, abortSignal),
      withinMs,
    );
    // Emulators do not return the existing item, and DynamoDB returns none if the item does not exist.
    return written || item ? { written, item } : { written, item: await this.get(key, withinMs) };
  }

  /**
   * Sets attributes of an item if it still has the given version (0 for a new item), and increments the version. Writes
   * nothing and returns false if another writer was first.
   */
  async updateVersion(key: ItemKey, version: number, attributes: Item): Promise<boolean> {
    // Identifies this write: if the condition fails, the first attempt may have written, and only its answer was lost.
    const write = randomUUID();
    const names = Object.keys(attributes);
    const { written, item } = await this.update(key, {
      update: `SET ${names.map((name) => `${name} = :${name}`).join(", ")}, version = :next, writtenBy = :write`,
      condition: version === 0 ? "attribute_not_exists(version)" : "version = :seen",
      values: {
        ...Object.fromEntries(names.map((name) => [`:${name}`, attributes[name]])),
        ":next": { N: `${version + 1}` },
        ":write": { S: write },
        ...(version !== 0 && { ":seen": { N: `${version}` } }),
      },
    });
    return written || item?.writtenBy?.S === write;
  }

  async delete(key: ItemKey): Promise<void> {
    const command = new DeleteItemCommand({ TableName: this.#place.table, Key: toKey(key) });
    await this.#call("DeleteItem", (abortSignal) => this.#client.send(command, { abortSignal }));
  }

  async #updateIf(command: UpdateItemCommand, abortSignal: AbortSignal): Promise<Changed> {
    try {
      return { written: true, item: (await this.#client.send(command, { abortSignal })).Attributes };
    } catch (error) {
      if ((error as Error).name !== "ConditionalCheckFailedException") throw error;
      return { written: false, item: (error as { readonly Item?: Item }).Item };
    }
  }

  async #call<T>(action: string, work: (deadline: AbortSignal) => Promise<T>, withinMs?: number): Promise<T> {
    if (withinMs !== undefined) return this.#answer(action, work, withinMs);
    try {
      await this.#turns.acquire(AbortSignal.timeout(turnTimeoutMs));
    } catch (error) {
      const late = new Error(`not sent within ${turnTimeoutMs} ms: ${callsAtOnce} other calls were in flight`, {
        cause: error,
      });
      throw toStateError(Object.assign(late, { code: "ETIMEDOUT" }), { action, ...this.#place });
    }
    try {
      return await this.#answer(action, work, this.#callTimeoutMs);
    } finally {
      this.#turns.release();
    }
  }

  // The SDK's own request timeout covers only the headers: a body that stops half-way would block the call forever.
  async #answer<T>(action: string, work: (deadline: AbortSignal) => Promise<T>, withinMs: number): Promise<T> {
    // The first call also has to fetch credentials and to connect.
    const limitMs = this.#answered ? withinMs : Math.max(withinMs, this.#callTimeoutMs);
    const deadline = AbortSignal.timeout(limitMs);
    try {
      const answer = await work(deadline);
      this.#answered = true;
      return answer;
    } catch (error) {
      const late = new Error(`no answer within ${limitMs} ms`, { cause: error });
      throw toStateError(deadline.aborted ? Object.assign(late, { code: "ETIMEDOUT" }) : error, {
        action,
        ...this.#place,
      });
    }
  }
}

function toKey({ pk, sk }: ItemKey): Record<string, AttributeValue> {
  return { [partitionKey]: { S: pk }, [sortKey]: { S: sk } };
}
