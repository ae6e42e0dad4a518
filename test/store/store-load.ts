import { createPackIds } from "../../relay/pack/pack-id.ts";
import { bucketOf } from "../../relay/replay/latency-histogram.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import type { FannedOutPack, Fate, Settlement } from "../../relay/state/port.ts";
import { MeteredEndpoint } from "../bench/metered-endpoint.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { seededRandom } from "../support/data/seeded-random.ts";
import { KeyMeter, type KeyUse } from "./key-meter.ts";

export interface StoreLoad {
  readonly requestsPerSecond: number;
  readonly targets: number;
  /** Processes beside HAProxy, each with a run of its own. */
  readonly agents: number;
  /** Replay functions of each target. */
  readonly workers: number;
  /** Simulated time. */
  readonly seconds: number;
}

const requestsAPack = 150;
const packsABatch = 10;
// A fan-out function takes about this time for a batch of packs.
const fanOutSeconds = 0.3;
// Processes that are simulated at once: each has a client of its own.
const processesAtOnce = 50;

/**
 * Measures what the functions of a deployment do to each partition key of the table: fan-out functions record batches of packs of
 * all agents, each replay function reads its packs, and each second it records the fates of those that it has sent, and its
 * figures at the end of a batch. The code of the product runs on an emulator that reports capacity units. Only the time is
 * simulated: units are divided by the seconds that the work stands for. Slot rounds are left out.
 *
 * @returns units a second by kind of key
 */
export async function measureStore(load: StoreLoad, seed = 1): Promise<ReadonlyMap<string, KeyUse>> {
  const emulator = await startDynamoDb();
  const meter = new KeyMeter();
  const endpoint = await MeteredEndpoint.start({
    port: Number(new URL(emulator.endpoint).port),
    extra: { ReturnConsumedCapacity: "TOTAL" },
    onCall: (call) => meter.take(call),
  });
  const open = () =>
    DynamoDbState.open({
      ...emulator,
      endpoint: endpoint.origin,
      tallyEveryMs: 5,
      callTimeoutMs: 60_000,
      roundTimeoutMs: 60_000,
    });
  try {
    const run = new LoadRun(load, open, meter, seededRandom(seed));
    await run.fanOut();
    // Before the replay: its functions are closed here, but run on in reality, so their sums are not folded.
    await run.fold();
    await run.replay();
    return new Map(Array.from(meter.byKind, ([kind, use]) => [kind, perSecond(use, run.secondsOf(kind))]));
  } finally {
    endpoint.stop();
    await emulator.stop();
  }
}

class LoadRun {
  readonly #load: StoreLoad;
  readonly #open: () => DynamoDbState;
  readonly #meter: KeyMeter;
  readonly #random: () => number;
  readonly #packs: readonly FannedOutPack[];

  constructor(load: StoreLoad, open: () => DynamoDbState, meter: KeyMeter, random: () => number) {
    this.#load = load;
    this.#open = open;
    this.#meter = meter;
    this.#random = random;
    this.#packs = this.#createPacks();
  }

  async fanOut(): Promise<void> {
    const batches = chunk(this.#packs, packsABatch);
    const functions = Math.ceil((batches.length / this.#load.seconds) * fanOutSeconds);
    await this.#runAll(functions, async (state, index) => {
      for (const batch of batches.filter((_, i) => i % functions === index)) {
        await this.#readControls(state, this.#targets);
        await Promise.all(batch.map((pack) => state.ledger.recordFanOut(pack)));
      }
    });
  }

  async replay(): Promise<void> {
    const { workers, seconds } = this.#load;
    await this.#runAll(workers * this.#load.targets, async (state, index) => {
      const target = this.#targets[index % this.#targets.length];
      const worker = Math.floor(index / this.#targets.length);
      const packs = this.#packs.filter((_, i) => i % workers === worker);
      await Promise.all(packs.map(({ pack }) => state.ledger.sheet(target, pack)));
      for (let second = 0; second < seconds; second++) {
        await this.#readControls(state, [target]);
        const [from, until] = [second, second + 1].map((at) => (at / seconds) * packs.length * requestsAPack);
        await Promise.all(
          packs.flatMap(({ pack }, i) => {
            const settlement = answers(from - i * requestsAPack, until - i * requestsAPack);
            return settlement.size === 0 ? [] : [state.ledger.settle(target, pack, settlement)];
          }),
        );
      }
      await state.figures.add(target, 0, this.#createFigures(), { writer: `w${worker}`, number: 1 });
    });
  }

  async fold(): Promise<void> {
    const state = this.#open();
    await state.fold();
    await state.close();
  }

  /** The time that the counted work of a kind stands for: each worker has added figures once, which it does after a batch. */
  secondsOf(kind: string): number {
    const { requestsPerSecond, workers, seconds } = this.#load;
    return kind === "minute" ? (workers * requestsAPack * packsABatch) / requestsPerSecond : seconds;
  }

  get #targets(): readonly string[] {
    return Array.from({ length: this.#load.targets }, (_, i) => `shadow-${i}`);
  }

  /** All packs in the order in which SQS delivers them: roughly that of their arrival. */
  #createPacks(): readonly FannedOutPack[] {
    const { requestsPerSecond, agents, seconds } = this.#load;
    const count = Math.ceil((requestsPerSecond * seconds) / requestsAPack);
    const runs = Array.from({ length: agents }, (_, i) => ({ agent: `edge-${i}~0badcafe`, createId: createPackIds() }));
    const packs = Array.from({ length: count }, (_, i): FannedOutPack => {
      const { agent, createId } = runs[i % agents];
      return {
        pack: Buffer.from(createId(requestsAPack)).toString("hex"),
        agent,
        sequence: Math.floor(i / agents) + 1,
        requests: requestsAPack,
        targets: new Map(this.#targets.map((target) => [target, new Map()])),
      };
    });
    const places = packs.map((pack, i) => ({ pack, at: i + this.#random() * 2 * packsABatch }));
    return places.sort((a, b) => a.at - b.at).map(({ pack }) => pack);
  }

  /** Times of answers around 30 ms, as far apart as those of 1,500 requests to a real shadow. */
  #createFigures(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>([["answered.2xx", requestsAPack * packsABatch]]);
    for (const series of ["latency", "firstByte", "age"] as const) {
      for (let i = 0; i < requestsAPack * packsABatch; i++) {
        const bucket = bucketOf(30 * Math.exp(2 * (this.#random() + this.#random() + this.#random() - 1.5)), series);
        counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
      }
    }
    return counts;
  }

  async #readControls(state: DynamoDbState, targets: readonly string[]): Promise<void> {
    await Promise.all(targets.map((target) => state.controls.read(target)));
  }

  async #runAll(processes: number, work: (state: DynamoDbState, index: number) => Promise<void>): Promise<void> {
    for (const some of chunk([...Array(processes).keys()], processesAtOnce)) {
      const states = some.map(this.#open);
      await Promise.all(states.map((state, i) => work(state, some[i])));
      // A function does not close its state: it runs on for minutes.
      this.#meter.counting = false;
      await Promise.all(states.map((state) => state.close()));
      this.#meter.counting = true;
    }
  }
}

function perSecond(use: KeyUse, seconds: number): KeyUse {
  return {
    writes: use.writes / seconds,
    reads: use.reads / seconds,
    writesOfOneKey: use.writesOfOneKey / seconds,
    readsOfOneKey: use.readsOfOneKey / seconds,
    largestWrite: use.largestWrite,
  };
}

/** Answers to the requests of a pack from one index up to another, as far as it has them. */
function answers(from: number, until: number): Settlement {
  const [first, end] = [Math.max(0, Math.ceil(from)), Math.min(requestsAPack, Math.ceil(until))];
  return new Map(
    Array.from({ length: Math.max(0, end - first) }, (_, i): [number, Fate] => [first + i, "answered.2xx"]),
  );
}

function chunk<T>(all: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
