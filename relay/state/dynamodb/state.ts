import { type State, StateError } from "../port.ts";
import { DynamoDbControls } from "./controls.ts";
import { DynamoDbFigures } from "./figures.ts";
import { DynamoDbJobs } from "./jobs.ts";
import { DynamoDbLedger } from "./ledger.ts";
import { Pages } from "./pages.ts";
import { DynamoDbRounds } from "./rounds.ts";
import { TableClient, type TableEndpoint } from "./table-client.ts";
import { Tallies } from "./tallies.ts";
import { oldTallyLayout, tallyLayout } from "./tally-layout.ts";
import { WriterTally } from "./writer-tally.ts";

export interface DynamoDbStateOptions extends TableEndpoint {
  /** In milliseconds since 1970; default: the clock of DynamoDB. */
  readonly now?: () => number;
  /** How long each call for a round of slots may take; default 500 ms. */
  readonly roundTimeoutMs?: number;
  /** How long any other call may take; default 3 s. */
  readonly callTimeoutMs?: number;
  /** Minimum interval between two writes of this process's sums, and how long an operation may wait for one; default 50 ms. */
  readonly tallyEveryMs?: number;
}

/**
 * The state in one table of DynamoDB, for any number of processes anywhere. What a method records is durable when it returns.
 * Credentials and the endpoint come from the usual places of the AWS SDK. All methods throw `StateError`.
 */
export class DynamoDbState implements State {
  readonly rounds: DynamoDbRounds;
  readonly ledger: DynamoDbLedger;
  readonly controls: DynamoDbControls;
  readonly figures: DynamoDbFigures;
  readonly jobs: DynamoDbJobs;
  readonly #client: TableClient;
  readonly #tallies: readonly Tallies[];

  /** Makes no call before the first use. */
  static open(options: DynamoDbStateOptions): DynamoDbState {
    return new DynamoDbState(options);
  }

  private constructor(options: DynamoDbStateOptions) {
    const { now, roundTimeoutMs = 500, callTimeoutMs = 3_000, tallyEveryMs = 50, ...place } = options;
    const client = new TableClient({ ...place, callTimeoutMs });
    const nowOf = now ?? (() => client.clock.nowMs());
    const pages = new Pages(client, nowOf);
    this.#client = client;
    this.rounds = new DynamoDbRounds(client, roundTimeoutMs);
    this.controls = new DynamoDbControls(client);
    this.figures = new DynamoDbFigures(client);
    this.jobs = new DynamoDbJobs(client, nowOf);
    this.#tallies = [tallyLayout, oldTallyLayout].map((layout) => new Tallies(client, pages, this.jobs, layout, nowOf));
    this.ledger = new DynamoDbLedger({
      pages,
      tallies: this.#tallies,
      createTally: () => new WriterTally({ client, now: nowOf, everyMs: tallyEveryMs }),
    });
  }

  /**
   * Moves the sums of processes that ended, or were idle for an hour, into a few items, so that `ledger.totals` stays fast.
   * Call it about once a minute; two calls at the same time do no harm.
   */
  async fold(): Promise<void> {
    for (const tallies of this.#tallies) await tallies.fold();
  }

  async close(): Promise<void> {
    try {
      await this.ledger.close();
    } catch (error) {
      // Nothing is lost: everything was recorded before. The tally is only folded an hour later.
      if (!(error instanceof StateError)) throw error;
    } finally {
      this.#client.close();
    }
  }
}
