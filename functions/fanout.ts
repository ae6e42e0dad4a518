import type { Hono } from "hono";
import type { ByteAccount } from "../relay/concurrency/byte-budget.ts";
import type { Logger } from "../relay/log/log.ts";
import type { Outage } from "../relay/log/outage.ts";
import { DecodeError } from "../relay/pack/decode-error.ts";
import type { Pack } from "../relay/pack/pack.ts";
import { fitShares } from "../relay/queue/fitting.ts";
import { anew, forwardMessage, type MessagePack, readMessage, returnMessage } from "../relay/queue/message.ts";
import { overdueAtMs } from "../relay/queue/overdue.ts";
import { poisonMessage } from "../relay/queue/poison.ts";
import {
  type BrowsableQueue,
  type Delivery,
  type OutgoingMessage,
  QueueError,
  type QueueSender,
} from "../relay/queue/port.ts";
import { sendAll } from "../relay/queue/send-all.ts";
import type { FigureBook } from "../relay/replay/figure-book.ts";
import type { LiveTarget } from "../relay/replay/live-target.ts";
import { type Share, shareOf } from "../relay/replay/share.ts";
import { captureKey, type Fate, type Ledger, type Settlement, StateError } from "../relay/state/port.ts";
import { createBatchApp, type Handled, type Invocation } from "./batch.ts";
import type { CaptureSink, CaptureTurn, CaptureVerdict } from "./capture/sink.ts";
import { parseUncaptured, toUncaptured, type Uncaptured } from "./capture/uncaptured.ts";
import { withRoom } from "./decode-room.ts";
import { ignoreForged } from "./forged-marks.ts";
import { FullQueues } from "./full-queues.ts";
import type { MetricLine } from "./metric-line.ts";
import { createStateOutage, StatePatience } from "./state-patience.ts";

export interface FanOutDeps {
  readonly targets: readonly LiveTarget[];
  readonly queueOf: (target: string) => QueueSender;
  readonly captures: readonly CaptureSink[];
  /** Packs that cannot be fanned out or captured now are sent back here. */
  readonly ingress: QueueSender & Pick<BrowsableQueue, "retention">;
  /** Packs that cannot be decoded are sent here. */
  readonly deadLetters: QueueSender;
  readonly ledger: Ledger;
  /** By target name: counts the requests that its queue does not receive. */
  readonly figures?: ReadonlyMap<string, FigureBook>;
  readonly metrics?: Pick<MetricLine, "count">;
  /** Room for decoded packs; without it there is always some. */
  readonly room?: ByteAccount;
  /** Shared with the other parts of the process; by default one of its own. */
  readonly stateOutage?: Outage;
  readonly log: Logger;
}

const none: ReadonlySet<string> = new Set();
// Delay before the fan-out retries a pack if the state store does not answer.
const afterFailureMs = 30_000;

/**
 * Receives packs from the ingress queue, puts each target's share into the target's own queue and each capture's share into
 * its archive. If an archive cannot store a share, a message for that capture alone retries it later.
 */
export function createFanOut(deps: FanOutDeps): Hono<{ Bindings: Invocation }> {
  const count = () => deps.metrics?.count("fanOutStateDown", 1);
  const patience = new StatePatience("fan-out", deps.stateOutage ?? createStateOutage(deps.log), count);
  const accept = ignoreForged(["job", "redrive"], deps.log);
  const fullQueues = new FullQueues(
    deps.targets.map(({ config }) => config.name),
    deps.log,
  );
  const handle = async (delivery: Delivery, invocation: Required<Invocation>): Promise<Handled> => {
    // Announced before any await, if there is room: then the whole batch is announced before its first pack is written.
    const turns = new Map(deps.captures.map((sink) => [sink.name, sink.announce()]));
    try {
      const pack = readMessage(delivery);
      if (pack instanceof DecodeError) return await moveToDeadLetters(deps, delivery, pack);
      return await new FanOutRun(deps, { patience, fullQueues, turns, invocation, delivery, pack }).run();
    } finally {
      for (const turn of turns.values()) turn.leave();
    }
  };
  return createBatchApp(deps.log, async (received, invocation) => {
    const work = () => handle(accept(received), invocation);
    return (await withRoom(deps.room, received, invocation.signal, work)) ?? "again";
  });
}

async function moveToDeadLetters(
  { deadLetters, log }: FanOutDeps,
  delivery: Delivery,
  error: DecodeError,
): Promise<Handled> {
  log.error(
    { event: "poison", message: delivery.messageId, reason: error.message },
    "a pack cannot be decoded: it is moved to the dead letters of the ingress queue",
  );
  await sendAll(deadLetters, [poisonMessage(delivery, error.message, deadLetters)]);
  return "done";
}

type Turns = ReadonlyMap<string, CaptureTurn>;
type Verdicts = ReadonlyMap<string, CaptureVerdict>;

/** A target with its share of the pack. */
interface TargetShare {
  readonly name: string;
  readonly share: Share;
}

interface PackOnHand {
  readonly patience: StatePatience;
  readonly fullQueues: FullQueues;
  /** By capture name. */
  readonly turns: Turns;
  readonly invocation: Required<Invocation>;
  readonly delivery: Delivery;
  readonly pack: MessagePack;
}

/** The work on one pack. */
class FanOutRun {
  readonly #deps: FanOutDeps;
  readonly #patience: StatePatience;
  readonly #turns: Turns;
  readonly #invocation: Required<Invocation>;
  readonly #delivery: Delivery;
  readonly #pack: MessagePack;
  readonly #fullQueues: FullQueues;

  constructor(deps: FanOutDeps, { patience, fullQueues, turns, invocation, delivery, pack }: PackOnHand) {
    this.#deps = deps;
    this.#fullQueues = fullQueues;
    this.#patience = patience;
    this.#turns = turns;
    this.#invocation = invocation;
    this.#delivery = delivery;
    this.#pack = pack;
  }

  async run(): Promise<Handled> {
    const uncaptured = parseUncaptured(this.#delivery.body);
    if (uncaptured) return this.#captureAgain(uncaptured);
    if (!(await this.#refreshTargets())) return this.#postpone();
    const { delivered, failed } = await this.#send(await this.#openShares());
    // A pack that is delivered again is captured again: readers skip the second copy in an archive.
    const verdicts = await this.#capture(this.#turns);
    // Noted after sending: a pack that the ledger lists as fanned out must not be missing in a queue.
    await this.#note(delivered, verdicts);
    await this.#sendUncaptured(verdicts, 1);
    if (failed) throw failed.reason;
    return "done";
  }

  /** Writes a pack to captures that could not store it before. The targets already have it. */
  async #captureAgain({ captures, tries }: Uncaptured): Promise<Handled> {
    const wanted = new Map([...this.#turns].filter(([name]) => captures.includes(name)));
    for (const [name, turn] of this.#turns) if (!wanted.has(name)) turn.leave();
    const verdicts = new Map(await this.#capture(wanted));
    for (const name of captures) if (!wanted.has(name)) verdicts.set(name, skipAll(this.#pack));
    await this.#patience.run(this.#invocation, async () => {
      for (const [name, { kept, settlement }] of verdicts) {
        if (kept) await this.#deps.ledger.settle(captureKey(name), this.#pack.id, settlement);
      }
    });
    this.#countCaptured(verdicts);
    await this.#sendUncaptured(verdicts, tries + 1);
    return "done";
  }

  /** False if the state store does not answer. */
  async #refreshTargets(): Promise<boolean> {
    const { targets } = this.#deps;
    try {
      const refresh = async () => (await Promise.all(targets.map((target) => target.refresh()))).includes(true);
      await this.#patience.run(this.#invocation, refresh);
      return true;
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      return false;
    }
  }

  /** Sends the pack back as a new message: the limit of receives is for packs that fail, not for packs that wait. */
  async #postpone(): Promise<Handled> {
    if (this.#invocation.patient) return "again";
    const message = { ...returnMessage(this.#delivery, this.#pack), delayMs: afterFailureMs };
    await sendAll(this.#deps.ingress, [message]);
    return "done";
  }

  /** The shares of the targets that do not have theirs yet. */
  async #openShares(): Promise<readonly TargetShare[]> {
    const { targets, ledger } = this.#deps;
    // A pack that is delivered again may already be in some queues: the shadow would also receive a second copy.
    const reached =
      this.#delivery.receiveCount > 1
        ? await this.#patience.run(this.#invocation, () => ledger.fannedOut(this.#pack.id))
        : none;
    return targets
      .filter(({ config }) => !reached.has(config.name))
      .map(({ config, sampleFraction }) => ({ name: config.name, share: shareOf(config, sampleFraction, this.#pack) }));
  }

  /** Resolves with the shares that are in their queues or dropped, and the first failure if there is one. */
  async #send(
    shares: readonly TargetShare[],
  ): Promise<{ readonly delivered: readonly TargetShare[]; readonly failed: PromiseRejectedResult | undefined }> {
    const { queueOf } = this.#deps;
    const sent = await Promise.allSettled(
      shares.map(async ({ name, share }) => {
        const queue = queueOf(name);
        const send = async () => sendAll(queue, this.#toMessages(share, queue));
        return { name, share: await this.#fullQueues.send(name, share, send) };
      }),
    );
    return {
      delivered: sent.flatMap((result) => (result.status === "fulfilled" ? [result.value] : [])),
      failed: sent.find((result) => result.status === "rejected"),
    };
  }

  #toMessages({ requests }: Share, queue: QueueSender): readonly OutgoingMessage[] {
    const pack = this.#pack;
    if (requests.length === 0) return [];
    const nowMs = this.#deps.ingress.retention.nowMs();
    if (requests.length === pack.requests.length) return [forwardMessage(this.#delivery, pack, nowMs)];
    const { shares, unfit } = fitShares(anew(pack, nowMs), requests, { attempt: pack.attempt }, queue);
    if (unfit.length > 0)
      throw new QueueError("TOO_BIG", "a request does not fit into a message of the target's queue");
    return shares.map(({ message }) => message);
  }

  async #capture(turns: Turns): Promise<Verdicts> {
    const write = async ([name, turn]: [string, CaptureTurn]) => [name, await turn.write(this.#pack)] as const;
    return new Map(await Promise.all(Array.from(turns, write)));
  }

  async #note(delivered: readonly TargetShare[], verdicts: Verdicts): Promise<void> {
    const { ledger, figures, metrics } = this.#deps;
    const { id, agent, sequence, requests } = this.#pack;
    const settlements = new Map<string, Settlement>([
      ...delivered.map(({ name, share }) => [name, share.settlement] as const),
      ...Array.from(verdicts, ([name, { settlement }]) => [captureKey(name), settlement] as const),
    ]);
    if (settlements.size === 0) return;
    await this.#patience.run(this.#invocation, () =>
      ledger.recordFanOut({ pack: id, agent, sequence, requests: requests.length, targets: settlements }),
    );
    metrics?.count("packs", 1);
    this.#countCaptured(verdicts);
    for (const { name, share } of delivered) {
      for (const fate of share.settlement.values()) figures?.get(name)?.count(fate);
    }
  }

  #countCaptured(verdicts: Verdicts): void {
    for (const { settlement } of verdicts.values()) {
      this.#deps.metrics?.count("captured", [...settlement.values()].filter((fate) => fate === "captured").length);
    }
  }

  /** Sends the requests that an archive did not store back to the ingress queue, for their captures alone. */
  async #sendUncaptured(verdicts: Verdicts, tries: number): Promise<void> {
    const { ingress } = this.#deps;
    const left = [...verdicts].filter(([, { kept }]) => !kept);
    if (left.length === 0) return;
    const { retention } = ingress;
    if (retention.nowMs() >= overdueAtMs(this.#delivery, this.#pack, retention)) return this.#giveUp(left);
    const requests = this.#pack.requests.filter(({ index }) =>
      left.some(([, { settlement }]) => !settlement.has(index)),
    );
    const uncaptured = { captures: left.map(([name]) => name), tries };
    for (const message of toUncaptured(this.#delivery, this.#pack, requests, uncaptured, ingress.maxMessageBytes)) {
      await sendAll(ingress, [message]);
    }
  }

  /** The requests have waited for their captures for longer than they may. */
  async #giveUp(left: readonly (readonly [string, CaptureVerdict])[]): Promise<void> {
    const { ledger, log } = this.#deps;
    const { id, requests } = this.#pack;
    for (const [name, { settlement }] of left) {
      const late = requests.filter(({ index }) => !settlement.has(index));
      const expired = new Map<number, Fate>(late.map(({ index }) => [index, "expired"]));
      await this.#patience.run(this.#invocation, () => ledger.settle(captureKey(name), id, expired));
      log.error(
        { event: "capture-expired", capture: name, requests: late.length },
        "requests have waited for a capture for longer than the ingress queue keeps them: they are given up",
      );
    }
  }
}

/** The verdict on requests that waited for a capture which is no longer configured. */
function skipAll({ requests }: Pack): CaptureVerdict {
  return { kept: true, settlement: new Map<number, Fate>(requests.map(({ index }) => [index, "skipped"])) };
}
