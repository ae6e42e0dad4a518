import { type State, StateError } from "../port.ts";
import { DynamoDbControls } from "./controls.ts";
import { DynamoDbFigures } from "./figures.ts";
import { DynamoDbJobs } from "./jobs.ts";
import { DynamoDbLeases } from "./leases.ts";
import { DynamoDbLedger } from "./ledger.ts";
import { PackItems } from "./pack-items.ts";
import { TableClient, type TableEndpoint } from "./table-client.ts";
import { Tallies } from "./tallies.ts";
import { WriterTally } from "./writer-tally.ts";

export interface DynamoDbStateOptions extends TableEndpoint {
  /** In milliseconds since 1970. */
  readonly now?: () => number;
  /** How long each call for a lease may take: 300 ms, if nothing is said. */
  readonly leaseTimeoutMs?: number;
  /** How long any other call may take: 3 s. */
  readonly callTimeoutMs?: number;
  /** How often the sums of this process are written at most, and how long what is recorded may wait for it: 50 ms. */
  readonly tallyEveryMs?: number;
}

/**
 * The state in one table of DynamoDB, for any number of processes anywhere. What a method of a port recorded is durable when
 * it returns. Credentials and the endpoint are found as by every AWS SDK. All methods throw `StateError`.
 */
export class DynamoDbState implements State {
  readonly leases: DynamoDbLeases;
  readonly ledger: DynamoDbLedger;
  readonly controls: DynamoDbControls;
  readonly figures: DynamoDbFigures;
  readonly jobs: DynamoDbJobs;
  readonly #client: TableClient;
  readonly #tallies: Tallies;

  /** Asks nothing before the first use. */
  static open(options: DynamoDbStateOptions): DynamoDbState {
    return new DynamoDbState(options);
  }

  private constructor(options: DynamoDbStateOptions) {
    const { now = Date.now, leaseTimeoutMs = 300, callTimeoutMs = 3_000, tallyEveryMs = 50, ...place } = options;
    const client = new TableClient({ ...place, callTimeoutMs });
    const packItems = new PackItems(client, now);
    this.#client = client;
    this.leases = new DynamoDbLeases(client, leaseTimeoutMs, now);
    this.controls = new DynamoDbControls(client);
    this.figures = new DynamoDbFigures(client);
    this.jobs = new DynamoDbJobs(client, now);
    this.#tallies = new Tallies(client, packItems, this.jobs, now);
    this.ledger = new DynamoDbLedger({
      packItems,
      tallies: this.#tallies,
      createTally: () => new WriterTally({ client, now, everyMs: tallyEveryMs }),
    });
  }

  /**
   * Moves what processes have recorded that ended, or were idle for an hour, into one item, so that `ledger.totals` stays
   * quick. To be called each minute or so; two calls at the same time do no harm.
   */
  fold(): Promise<void> {
    return this.#tallies.fold();
  }

  async close(): Promise<void> {
    try {
      await this.ledger.close();
    } catch (error) {
      // Everything was recorded before: it only takes an hour longer until it is folded.
      if (!(error instanceof StateError)) throw error;
    } finally {
      this.#client.close();
    }
  }
}
