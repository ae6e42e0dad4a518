import type { OpenAPIHono } from "@hono/zod-openapi";
import { HTTPException } from "hono/http-exception";
import type { DeadLetterAnswer, DeadLettersAnswer, SweepAnswer } from "../../relay/control/answers.ts";
import { describeDeadLetter, type RedriveOptions, redrive } from "../../relay/control/dead-letters.ts";
import { discard } from "../../relay/control/discard.ts";
import type { Swept } from "../../relay/control/sweep.ts";
import { DecodeError } from "../../relay/pack/decode-error.ts";
import { showRequest } from "../../relay/pack/request-text.ts";
import { LeftMessages } from "../../relay/queue/left-messages.ts";
import { readMessage } from "../../relay/queue/message.ts";
import { ingressQueue } from "../../relay/queue/names.ts";
import {
  type BrowsableQueue,
  type DeadLetter,
  type OpenQueue,
  QueueError,
  type QueueReceiver,
} from "../../relay/queue/port.ts";
import {
  discardDeadLetters,
  getDeadLetter,
  listDeadLetters,
  maxBrowsed,
  redriveDeadLetters,
} from "./dead-letter-routes.ts";
import type { ControlDeps } from "./deps.ts";
import { Mistake } from "./problem.ts";

/**
 * Adds the routes of dead letters: those of targets, and under `ingress` those of the ingress queue. For a target that is no
 * longer in the configuration they include the packs that wait in its queue.
 */
export function addDeadLetterRoutes(app: OpenAPIHono, deps: ControlDeps): void {
  const { stores, log } = deps;
  app.openapi(listDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const found = await findQueue(deps, name);
    const letters = await found.letters.browse(context.req.valid("query").limit);
    // The estimate of SQS may be lower than the number of dead letters that were just received.
    const messages = Math.max(await countLeft(found), letters.length);
    const answer: DeadLettersAnswer = { queue: name, messages, letters: letters.map(describeDeadLetter) };
    return context.json(answer, 200);
  });
  app.openapi(getDeadLetter, async (context) => {
    const { queue: name, id } = context.req.valid("param");
    const letters = await (await findQueue(deps, name)).letters.browse(maxBrowsed);
    const letter = letters.find(({ messageId }) => messageId === id);
    if (!letter) throw noSuchLetter(name, id);
    return context.json(toAnswer(letter), 200);
  });
  app.openapi(redriveDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const found = await findQueue(deps, name);
    const { id, to, startedAt = startOf(found) } = context.req.valid("json");
    const swept = await redrive({
      ...toDestination(deps, name, found, to),
      deadLetters: found.letters,
      ledger: stores.state.ledger,
      ...(found.target !== undefined && { target: found.target }),
      ...(id !== undefined && { messageId: id }),
      startedAtMs: Date.parse(startedAt),
      ...sweepBounds,
    });
    log.info({ event: "redriven", queue: name, to, ...swept }, "dead letters were put into a queue again");
    assertFound(name, id, swept);
    const answer: SweepAnswer = { ...swept, remaining: await countLeft(found), startedAt };
    return context.json(answer, 200);
  });
  app.openapi(discardDeadLetters, async (context) => {
    const { queue: name } = context.req.valid("param");
    const found = await findQueue(deps, name);
    const { id, startedAt = startOf(found) } = context.req.valid("json");
    if (found.target === undefined) {
      throw new Mistake("path.queue", `the packs of ${name} have reached no target yet: redrive them instead`);
    }
    const swept = await discard({
      target: found.target,
      deadLetters: found.letters,
      ledger: stores.state.ledger,
      ...(id !== undefined && { messageId: id }),
      startedAtMs: Date.parse(startedAt),
      ...sweepBounds,
    });
    log.warn({ event: "discarded", queue: name, ...swept }, "dead letters were discarded");
    assertFound(name, id, swept);
    const answer: SweepAnswer = { ...swept, remaining: await countLeft(found), startedAt };
    return context.json(answer, 200);
  });
}

// A call ends long before its caller gives up, and before the timeout of the function.
const sweepBounds = { maxMessages: 500, maxMs: 5_000, waitMs: 1_000 };

interface NamedQueue {
  readonly queue: OpenQueue;
  /** Its dead letters; for a removed target, also the packs that wait in its queue. */
  readonly letters: Pick<BrowsableQueue, "browse" | "clockToleranceMs" | "retention"> & QueueReceiver;
  /** Name of the target whose ledger counts the dead letters. */
  readonly target?: string;
  /** The target is no longer in the configuration. */
  readonly removed?: true;
}

async function findQueue({ targets, stores }: ControlDeps, name: string): Promise<NamedQueue> {
  if (name === ingressQueue) {
    // The dead letters of a target that reads the ingress queue itself are there.
    const [target] = [...stores.targets].find(([, queue]) => queue === stores.ingress) ?? [];
    const { ingress: queue } = stores;
    return { queue, letters: queue.deadLetters, ...(target !== undefined && { target }) };
  }
  const queue = stores.targets.get(name);
  if (queue) return { queue, letters: queue.deadLetters, target: name };
  const removed = await stores.removed.find(await stores.state.ledger.totals());
  const left = removed.get(name);
  if (left instanceof QueueError) throw left;
  if (left) return { queue: left, letters: new LeftMessages(left), target: name, removed: true };
  const names = [...targets.map((target) => target.name), ...[...removed.keys()].sort(), ingressQueue].join(", ");
  throw new HTTPException(404, { message: `there is no queue ${name}; dead letters are kept for: ${names}` });
}

/** The queue that dead letters are put into. Throws a 400 if there is none. */
function toDestination(
  { targets, stores }: ControlDeps,
  name: string,
  { queue, target, removed }: NamedQueue,
  to: string | undefined,
): Pick<RedriveOptions, "queue" | "to"> {
  const names = targets.map((one) => one.name).join(", ") || "no targets";
  if (to === undefined || to === target) {
    if (!removed) return { queue: queue.queue };
    throw new Mistake("body.to", `${name} is no longer in the configuration: name a target to send to, of ${names}`);
  }
  if (target === undefined) {
    throw new Mistake("body.to", `the packs of ${name} are fanned out to all targets: leave it out`);
  }
  const other = stores.targets.get(to);
  if (other) return { queue: other.entrance, to };
  throw new Mistake("body.to", `there is no target ${to}; the configuration has: ${names}`);
}

/** Now, by the clock of the queue: it tells which dead letters are older. */
function startOf({ letters }: NamedQueue): string {
  return new Date(letters.retention.nowMs()).toISOString();
}

async function countLeft({ queue, removed }: NamedQueue): Promise<number> {
  const { messages, deadMessages } = await queue.backlog();
  return removed ? messages + deadMessages : deadMessages;
}

function assertFound(name: string, id: string | undefined, { messages, obsolete, undecodable, done }: Swept): void {
  if (id !== undefined && done && messages + obsolete + undecodable === 0) throw noSuchLetter(name, id);
}

function noSuchLetter(queue: string, id: string): HTTPException {
  return new HTTPException(404, {
    message: `${queue} has no dead letter ${id}; spoa-relay dlq list ${queue} lists them`,
  });
}

function toAnswer(letter: DeadLetter): DeadLetterAnswer {
  const summary = describeDeadLetter(letter);
  const pack = readMessage(letter);
  if (pack instanceof DecodeError) return { ...summary, contents: [], undecodable: pack.message };
  return { ...summary, requests: pack.requests.length, contents: pack.requests.map(showRequest) };
}
