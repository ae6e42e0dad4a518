import type { Job } from "../../job/job.ts";
import {
  type FannedOutPack,
  type Fate,
  type LedgerFigures,
  type MinuteFigures,
  type Settlement,
  type State,
  StateError,
  type VersionedControl,
  type VersionedJob,
} from "../port.ts";
import type { SlotGrant, SlotRequest } from "../slot-lease.ts";
import type { TargetControl } from "../target-control.ts";
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
 * The state in one table of DynamoDB, for any number of processes anywhere. What a method recorded is durable when it
 * returns. Credentials and the endpoint are found as by every AWS SDK. All methods throw `StateError`.
 */
export class DynamoDbState implements State {
  readonly #client: TableClient;
  readonly #leases: DynamoDbLeases;
  readonly #controls: DynamoDbControls;
  readonly #figures: DynamoDbFigures;
  readonly #jobs: DynamoDbJobs;
  readonly #tallies: Tallies;
  readonly #ledger: DynamoDbLedger;

  /** Asks nothing before the first use. */
  static open(options: DynamoDbStateOptions): DynamoDbState {
    return new DynamoDbState(options);
  }

  private constructor(options: DynamoDbStateOptions) {
    const { now = Date.now, leaseTimeoutMs = 300, callTimeoutMs = 3_000, tallyEveryMs = 50, ...place } = options;
    const client = new TableClient({ ...place, callTimeoutMs });
    const packItems = new PackItems(client, now);
    this.#client = client;
    this.#leases = new DynamoDbLeases(client, leaseTimeoutMs, now);
    this.#controls = new DynamoDbControls(client);
    this.#figures = new DynamoDbFigures(client);
    this.#jobs = new DynamoDbJobs(client, now);
    this.#tallies = new Tallies(client, packItems, this.#jobs, now);
    this.#ledger = new DynamoDbLedger({
      packItems,
      tallies: this.#tallies,
      createTally: () => new WriterTally({ client, now, everyMs: tallyEveryMs }),
    });
  }

  async close(): Promise<void> {
    try {
      await this.#ledger.close();
    } catch (error) {
      // Everything was recorded before: it only takes an hour longer until it is folded.
      if (!(error instanceof StateError)) throw error;
    } finally {
      this.#client.close();
    }
  }

  lease(target: string, request: SlotRequest): Promise<SlotGrant> {
    return this.#leases.lease(target, request);
  }

  recordFanOut(pack: FannedOutPack): Promise<void> {
    return this.#ledger.recordFanOut(pack);
  }

  settle(target: string, pack: string, settlement: Settlement): Promise<void> {
    return this.#ledger.settle(target, pack, settlement);
  }

  unsettle(target: string, pack: string, indexes: readonly number[], fate: Fate): Promise<void> {
    return this.#ledger.unsettle(target, pack, indexes, fate);
  }

  fannedOut(pack: string): Promise<ReadonlySet<string>> {
    return this.#ledger.fannedOut(pack);
  }

  settled(target: string, pack: string): Promise<ReadonlySet<number>> {
    return this.#ledger.settled(target, pack);
  }

  figures(): Promise<LedgerFigures> {
    return this.#ledger.figures();
  }

  /**
   * Moves what processes have recorded that ended, or were idle for an hour, into one item, so that `figures` stays quick.
   * To be called each minute or so by somebody; twice at a time does no harm.
   */
  fold(): Promise<void> {
    return this.#tallies.fold();
  }

  readControl(target: string): Promise<VersionedControl> {
    return this.#controls.readControl(target);
  }

  writeControl(target: string, control: TargetControl, version: number): Promise<boolean> {
    return this.#controls.writeControl(target, control, version);
  }

  addFigures(target: string, minuteMs: number, counts: ReadonlyMap<string, number>): Promise<void> {
    return this.#figures.addFigures(target, minuteMs, counts);
  }

  readFigures(target: string, fromMs: number, untilMs: number): Promise<readonly MinuteFigures[]> {
    return this.#figures.readFigures(target, fromMs, untilMs);
  }

  listJobs(): Promise<readonly VersionedJob[]> {
    return this.#jobs.listJobs();
  }

  readJob(id: string): Promise<VersionedJob | undefined> {
    return this.#jobs.readJob(id);
  }

  writeJob(job: Job, version: number): Promise<boolean> {
    return this.#jobs.writeJob(job, version);
  }
}
