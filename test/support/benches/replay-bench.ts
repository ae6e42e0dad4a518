import type { Hono } from "hono";
import { onTestFinished } from "vitest";
import type { Invocation } from "../../../functions/batch.ts";
import { createReplay } from "../../../functions/replay.ts";
import type { ReplayDeps } from "../../../functions/replay-deps.ts";
import { type SqsBatchResponse, toSqsEvent } from "../../../functions/sqs-event.ts";
import type { TargetConfig } from "../../../relay/config/config.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import type { Delivery, OutgoingMessage } from "../../../relay/queue/port.ts";
import type { Lane } from "../../../relay/replay/lane.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import type { Fate } from "../../../relay/state/port.ts";
import { changeSettings } from "../../../relay/state/target-control.ts";
import { laneOf } from "../data/lanes.ts";
import { LogLines } from "../data/log-lines.ts";
import { packIn } from "../data/packs.ts";
import { target } from "../data/targets.ts";
import { temporaryDirectory } from "../data/temporary-directory.ts";

/** One target with a real queue, a real state and a real transport, in a directory that is removed after the test. */
export class ReplayBench {
  readonly directory = temporaryDirectory();
  /** The time of the queue: a test advances it instead of waiting for delays. */
  nowMs = Date.now();
  readonly log = new LogLines();
  readonly queue: EmbeddedQueue;
  readonly state: EmbeddedState;
  readonly lane: Lane;
  readonly app: Hono<{ Bindings: Invocation }>;

  constructor(changes: Partial<TargetConfig>, deps: Partial<ReplayDeps> = {}) {
    const config = target(changes);
    this.queue = EmbeddedQueue.open({ directory: this.directory, name: "q", now: () => this.nowMs });
    this.state = EmbeddedState.open(this.directory);
    this.lane = laneOf(config, this.state);
    this.app = createReplay({
      lane: this.lane,
      queue: this.queue,
      deadLetters: this.queue.deadLetters,
      ledger: this.state.ledger,
      jobs: this.state.jobs,
      log: this.log.log,
      ...deps,
    });
    onTestFinished(async () => {
      this.queue.close();
      this.state.close();
    });
  }

  /** @param paused `null` resumes the target */
  async pause(paused: true | null = true): Promise<void> {
    const { control, version } = await this.state.controls.read(this.lane.live.config.name);
    await this.state.controls.write(this.lane.live.config.name, changeSettings(control, { paused }), version);
  }

  async send(...messages: readonly OutgoingMessage[]): Promise<void> {
    await this.queue.send(messages);
  }

  async receive(max = 10): Promise<readonly Delivery[]> {
    return this.queue.receive({ max, waitMs: 0, visibilityMs: 30_000, signal: new AbortController().signal });
  }

  /** Handles deliveries like an event source mapping; resolves with the ids of those that will be delivered again. */
  async invoke(deliveries: readonly Delivery[], invocation?: Invocation): Promise<readonly string[]> {
    const failed = await invoke(this.app, deliveries, invocation);
    const done = deliveries.filter(({ messageId }) => !failed.includes(messageId));
    await this.queue.delete(done.map(({ receipt }) => receipt));
    return failed;
  }

  /** Replays one message after another until the queue is empty; advances the time over all delays. */
  async replayAll(): Promise<void> {
    for (;;) {
      const deliveries = await this.receive(1);
      if (deliveries.length > 0) await this.invoke(deliveries);
      else if (this.queue.depth().messages > 0) this.nowMs += 60_000;
      else return;
    }
  }

  /** Receives the waiting messages, including delayed ones. */
  async waiting(): Promise<readonly Delivery[]> {
    this.nowMs += 900_000;
    return this.receive();
  }

  /** The recorded fates of the target's requests. */
  async fates(): Promise<Partial<Record<Fate, number>>> {
    const { targets } = await this.state.ledger.totals();
    const counts: [string, number][] = Object.entries(targets.get(this.lane.live.config.name)?.fates ?? {});
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  async deadLetters(): Promise<{ readonly reason: string; readonly paths: readonly string[] }[]> {
    return (await this.queue.deadLetters.browse(100)).map((letter) => ({
      reason: JSON.parse(letter.body).reason,
      paths: packIn(letter).requests.map(({ path }) => path),
    }));
  }
}

/** Invokes a function with these deliveries; resolves with the ids that it names as failed. */
export async function invoke(
  app: Hono<{ Bindings: Invocation }>,
  deliveries: readonly Delivery[],
  invocation: Invocation = {},
): Promise<readonly string[]> {
  const body = JSON.stringify(toSqsEvent(deliveries));
  const response = await app.request("/", { method: "POST", body }, invocation);
  if (response.status !== 200) throw new Error(`answered ${response.status}`);
  const { batchItemFailures } = (await response.json()) as SqsBatchResponse;
  return batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
}
