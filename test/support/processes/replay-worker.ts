import { writeSync } from "node:fs";
import { Poller } from "../../../functions/host/poller.ts";
import { createReplay } from "../../../functions/replay.ts";
import { type Clock, systemClock } from "../../../relay/clock.ts";
import { createLogger } from "../../../relay/log/log.ts";
import { aborted, watchStopSignals } from "../../../relay/process/stop-signals.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { openSqsQueue } from "../../../relay/queue/sqs.ts";
import { FigureBook } from "../../../relay/replay/figure-book.ts";
import { createLane } from "../../../relay/replay/lane.ts";
import { LiveTarget } from "../../../relay/replay/live-target.ts";
import type { OutboundRequest } from "../../../relay/replay/outbound.ts";
import type { Outcome } from "../../../relay/replay/outcome.ts";
import { Pacer } from "../../../relay/replay/pacer.ts";
import { Transport } from "../../../relay/replay/transport.ts";
import { DynamoDbState } from "../../../relay/state/dynamodb/state.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { preciseNowUs, sentAtHeader } from "../clocks/sent-at.ts";
import { target } from "../data/targets.ts";

// Replays one target in a process of its own. Prints `ready`, waits for a line, and replays until a signal stops it. Writes its
// log to standard output. Argument: `ReplayWork` as JSON.

export interface ReplayWork {
  readonly shadow: string;
  readonly ratePerSecond: number;
  readonly concurrency: number;
  /** By how much the worker's clock is ahead of the machine's clock. */
  readonly clockAheadUs: number;
  readonly engine:
    | { readonly kind: "embedded"; readonly directory: string }
    | {
        readonly kind: "aws";
        readonly queueUrl: string;
        readonly endpoint: string;
        readonly table: string;
        readonly region: string;
      };
}

const visibilityMs = 5_000;
// As many as a host.
const inFlight = 8;

/** Adds a header with the time of sending to each request. */
class StampingTransport extends Transport {
  override send(request: OutboundRequest): Promise<Outcome> {
    return super.send({ ...request, headers: [...request.headers, sentAtHeader, String(preciseNowUs())] });
  }
}

const { shadow, ratePerSecond, concurrency, clockAheadUs, engine } = JSON.parse(process.argv[2]) as ReplayWork;
const clock: Clock = {
  nowUs: () => systemClock.nowUs() + clockAheadUs,
  sleepUntil: (atUs, signal) => systemClock.sleepUntil(atUs - clockAheadUs, signal),
};
const log = createLogger("info");
const config = target({ url: new URL(shadow), ratePerSecond, concurrency });
const open = {
  embedded: ({ directory }: Extract<ReplayWork["engine"], { kind: "embedded" }>) =>
    [EmbeddedQueue.open({ directory, name: "replayed" }), EmbeddedState.open(directory)] as const,
  aws: ({ queueUrl, ...place }: Extract<ReplayWork["engine"], { kind: "aws" }>) =>
    [openSqsQueue(queueUrl), DynamoDbState.open(place)] as const,
};
const [{ queue, deadLetters, close }, state] = engine.kind === "aws" ? open.aws(engine) : open.embedded(engine);
const live = new LiveTarget(config, state.controls);
const transport = new StampingTransport(config);
const pacer = new Pacer(config.name, live, state.rounds, clock);
const figures = new FigureBook(config.name, state.figures);
const lane = createLane({ live, transport, pacer, figures });
const app = createReplay({ lane, queue, deadLetters, ledger: state.ledger, jobs: state.jobs, log });

writeSync(1, "ready\n");
process.stdin.once("data", async () => {
  const poller = new Poller({ name: config.name, queue, app, batch: 1, inFlight, visibilityMs, log });
  await aborted(watchStopSignals().stop);
  await poller.stop();
  await transport.close();
  close();
  await state.close();
  process.exit();
});
