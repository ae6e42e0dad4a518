import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { startFauxqs } from "fauxqs";
import { createFanOut } from "../../functions/fanout.ts";
import { createReplay } from "../../functions/replay.ts";
import { createLogger } from "../../relay/log/log.ts";
import type { OpenQueue } from "../../relay/queue/port.ts";
import { openSqsQueue } from "../../relay/queue/sqs.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import { createLane } from "../../relay/replay/lane.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { Transport } from "../../relay/replay/transport.ts";
import { DynamoDbState } from "../../relay/state/dynamodb/state.ts";
import type { State } from "../../relay/state/port.ts";
import { startDynamoDb } from "../support/aws/dynamodb.ts";
import { target } from "../support/data/targets.ts";
import { DynamoDbMeter } from "./dynamodb-meter.ts";
import { runMapping } from "./mapping.ts";
import { MeteredEndpoint } from "./metered-endpoint.ts";
import { mirrorTraffic } from "./mirror-traffic.ts";
import { SqsMeter } from "./sqs-meter.ts";
import type { Row, Table } from "./table.ts";

const requests = 20_000;
const ratePerSecond = 1_000;
const lambdaBatch = 10;

// US dollars per million requests in us-east-1: standard queues, on-demand tables.
const sqsDollars = 0.4;
const writeDollars = 0.625;
const readDollars = 0.125;
const dynamoDbGoalDollars = 0.006;
// The requests for a message of its own: send, receive, delete.
const actionsOfMessage = 3;
// Lambda reads a queue with five long polls of 20 s at a time, even if nothing is mirrored.
const idleReceivesAnHour = 900;
const hoursAMonth = 730;

interface Layout {
  readonly title: string;
  /** True if the target reads the ingress queue itself. */
  readonly direct: boolean;
  readonly goalDollars: number;
}

interface Bill {
  readonly packs: number;
  readonly bytesEach: number;
  readonly ratio: number;
  readonly sqs: SqsMeter;
  readonly dynamoDb: DynamoDbMeter;
}

const layouts: readonly Layout[] = [
  { title: "one target with a queue of its own", direct: false, goalDollars: 0.012 },
  { title: "a target that reads the ingress queue", direct: true, goalDollars: 0.006 },
];

/** Measures what AWS bills for queues and state per million mirrored requests, from the agent's send to the delete. */
export async function benchCost(): Promise<Table[]> {
  const tables: Table[] = [];
  for (const layout of layouts) {
    tables.push({ title: `Cost of a million requests, ${layout.title}`, rows: toRows(layout, await mirror(layout)) });
  }
  return tables;
}

function toRows({ direct, goalDollars }: Layout, { packs, bytesEach, ratio, sqs, dynamoDb }: Bill): Row[] {
  const perPack = (requests / packs).toFixed(0);
  const deletes = sqs.requestsOf("DeleteMessage");
  const writes = perMillion(dynamoDb.total.writes);
  const reads = perMillion(dynamoDb.total.reads);
  return [
    {
      what: "traffic",
      value: `${bytesEach.toFixed(0)} B a request, ${perPack} a pack, compressed ${ratio.toFixed(2)}:1`,
    },
    ...Array.from(sqs.requests, ([what, count]) => ({ what, value: inRequests(count) })),
    {
      what: `SQS, ${lambdaBatch} packs an invocation`,
      value: `${inRequests(sqs.total)}; goal ≤ $${goalDollars}`,
    },
    { what: "SQS, a pack an invocation", value: inRequests(sqs.total - deletes + packs * (direct ? 1 : 2)) },
    { what: "SQS, a message a request", value: inRequests(actionsOfMessage * requests) },
    {
      what: "SQS, each queue that is polled in vain",
      value: `${format(idleReceivesAnHour).padStart(9)} an hour   ${inDollars((idleReceivesAnHour * hoursAMonth * sqsDollars) / 1e6)} a month`,
    },
    ...Array.from(dynamoDb.byKind, ([kind, units]) => ({
      what: `DynamoDB, ${kind}`,
      value: `${format(perMillion(units.writes))} writes, ${format(perMillion(units.reads))} reads`,
    })),
    {
      what: `DynamoDB at ${format(ratePerSecond)} requests/s`,
      value: `${format(writes)} writes, ${format(reads)} reads  ${inDollars((writes * writeDollars + reads * readDollars) / 1e6)}; goal ≤ $${dynamoDbGoalDollars}`,
    },
  ];
}

function perMillion(count: number): number {
  return (count * 1e6) / requests;
}

function inRequests(count: number): string {
  return `${format(perMillion(count)).padStart(9)} requests  ${inDollars((perMillion(count) * sqsDollars) / 1e6)}`;
}

function inDollars(dollars: number): string {
  return `$${dollars.toFixed(4)}`;
}

function format(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}

/** Mirrors traffic along the whole path, with a meter in front of each emulator. */
async function mirror({ direct }: Layout): Promise<Bill> {
  const emulator = await startFauxqs({ port: 0, logger: false });
  for (const name of ["ingress", "ingress-dlq", "target", "target-dlq"]) emulator.createQueue(name);
  const table = await startDynamoDb();
  const sqs = new SqsMeter();
  const dynamoDb = new DynamoDbMeter();
  const sqsEndpoint = await MeteredEndpoint.start({ port: emulator.port, onCall: (call) => sqs.take(call) });
  const dynamoDbEndpoint = await MeteredEndpoint.start({
    port: Number(new URL(table.endpoint).port),
    extra: { ReturnConsumedCapacity: "TOTAL" },
    onCall: (call) => dynamoDb.take(call),
  });
  const shadow = createServer((request, response) => request.resume().on("end", () => response.end("{}")));
  shadow.listen(0, "127.0.0.1");
  await once(shadow, "listening");
  const urlOf = (queue: string) => `${sqsEndpoint.origin}/000000000000/${queue}`;
  const ingress = openSqsQueue(urlOf("ingress"));
  const own = direct ? ingress : openSqsQueue(urlOf("target"));
  const state = DynamoDbState.open({ ...table, endpoint: dynamoDbEndpoint.origin });
  const url = new URL(`http://127.0.0.1:${(shadow.address() as AddressInfo).port}`);
  const live = new LiveTarget(target({ url, ratePerSecond, concurrency: 64 }), state.controls);
  const transport = new Transport(live.config);
  try {
    const { packs, contentBytes, sealedBytes } = await mirrorTraffic(urlOf("ingress"), requests);
    const mapping = { batch: lambdaBatch, messages: packs, functions: 2 };
    if (!direct) await runMapping({ ...mapping, queue: ingress.queue, app: fanOutOf(live, ingress, own, state) });
    await runMapping({ ...mapping, queue: own.queue, app: replayOf(live, own, state, transport, direct) });
    await state.close();
    return { packs, bytesEach: contentBytes / requests, ratio: contentBytes / sealedBytes, sqs, dynamoDb };
  } finally {
    await transport.close();
    for (const queue of new Set([ingress, own])) queue.close();
    shadow.close();
    sqsEndpoint.stop();
    dynamoDbEndpoint.stop();
    await emulator.stop();
    await table.stop();
  }
}

const log = createLogger("error");

function fanOutOf(live: LiveTarget, ingress: OpenQueue, own: OpenQueue, { ledger }: State) {
  const { queue, deadLetters } = ingress;
  return createFanOut({
    targets: [live],
    captures: [],
    queueOf: () => own.queue,
    ingress: queue,
    deadLetters,
    ledger,
    log,
  });
}

function replayOf(live: LiveTarget, own: OpenQueue, state: State, transport: Transport, direct: boolean) {
  const { name } = live.config;
  const { rounds, ledger, figures, jobs } = state;
  const pacer = new Pacer(name, live, rounds);
  const lane = createLane({ live, transport, pacer, figures: new FigureBook(name, figures) });
  return createReplay({ lane, queue: own.queue, deadLetters: own.deadLetters, ledger, jobs, direct, log });
}
