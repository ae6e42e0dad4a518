import { createFanOut } from "../../functions/fanout.ts";
import { createReplay } from "../../functions/replay.ts";
import { redrive } from "../../relay/control/dead-letters.ts";
import type { Swept } from "../../relay/control/sweep.ts";
import { createLogger } from "../../relay/log/log.ts";
import { type Delivery, type OpenQueue, QueueError, type QueueReceiver } from "../../relay/queue/port.ts";
import { FigureBook } from "../../relay/replay/figure-book.ts";
import { createLane } from "../../relay/replay/lane.ts";
import { LiveTarget } from "../../relay/replay/live-target.ts";
import { Pacer } from "../../relay/replay/pacer.ts";
import { Transport } from "../../relay/replay/transport.ts";
import { type LedgerTotals, type State, StateError } from "../../relay/state/port.ts";
import { invoke } from "../support/benches/replay-bench.ts";
import { packIn, packMessage, requests } from "../support/data/packs.ts";
import { target } from "../support/data/targets.ts";
import type { ShadowServer } from "../support/servers/shadow-server.ts";
import type { Engine } from "./engine.ts";
import { ModelProcess, type StepEnd } from "./process.ts";

export interface ModelFigures {
  /** Durable steps of all processes. */
  steps: number;
  sent: number;
  died: number;
  redriven: number;
  crashes: number;
  refusals: number;
  rounds: number;
}

type Role = "fan-out" | "worker" | "operator";

interface Actor {
  readonly role: Role;
  readonly process: ModelProcess;
  readonly work: () => Promise<void>;
  readonly end: () => void;
}

const roles: readonly Role[] = ["fan-out", "worker", "worker", "worker", "operator", "operator"];
const visibilityMs = 30_000;
// Reading queues and ledger takes longer than a step.
const momentEvery = 7;
const log = createLogger("silent", { write: () => {} });
const name = "staging";

/**
 * Sends, fails, lets die, redrives and crashes at random, on the real stores and against a real shadow. It keeps books of its
 * own, on what it sent and on what the shadow answered, and compares them with queues and ledger after each round.
 */
export class RedriveModel {
  readonly figures: ModelFigures = { steps: 0, sent: 0, died: 0, redriven: 0, crashes: 0, refusals: 0, rounds: 0 };
  readonly #engine: Engine;
  readonly #shadow: ShadowServer;
  readonly #random: () => number;
  readonly #state: State;
  #actors: Actor[] = [];
  #packs = 0;
  /** The share of the requests that the shadow answers. */
  #mood = 1;
  #faults = true;
  /** Requests of this round, and how often the shadow answered each. */
  readonly #answers = new Map<string, number>();

  constructor(engine: Engine, shadow: ShadowServer, random: () => number) {
    this.#engine = engine;
    this.#shadow = shadow;
    this.#random = random;
    this.#state = engine.openState();
    shadow.behaviour = ({ path }) => {
      if (random() >= this.#mood) return "reset";
      this.#answers.set(path, (this.#answers.get(path) ?? 0) + 1);
      return { status: random() < 0.8 ? 200 : 500 };
    };
  }

  /** Some random steps, then the checks. Throws if a request is lost or counted wrongly. */
  async round(steps: number): Promise<void> {
    this.figures.rounds++;
    this.#faults = this.#random() < 0.8;
    const faultsBefore = this.figures.crashes + this.figures.refusals;
    for (let step = 0; step < steps; step++) {
      await this.#step();
      if (this.#engine.exact && step % momentEvery === 0)
        this.#checkMoment(await this.#totals(), await this.#backlogs());
    }
    if (this.#faults) for (const actor of this.#actors) this.#crash(actor);
    this.#faults = false;
    const undisturbed = this.figures.crashes + this.figures.refusals === faultsBefore;
    await this.#drain();
    await this.#checkAtRest(undisturbed);
    await this.#checkRedriveEnds();
    this.#mood = 1;
    await this.#redriveAll();
    await this.#checkAllAnswered();
    for (const actor of this.#actors) actor.end();
    this.#actors = [];
    this.#answers.clear();
    this.#shadow.received.length = 0;
  }

  async #step(): Promise<void> {
    const draw = this.#random();
    if (draw < 0.05) return this.#send();
    // Without faults no message becomes visible again before its worker is done with it.
    if (draw < 0.08) return this.#faults ? this.#engine.pass() : undefined;
    if (draw < 0.1) {
      this.#mood = this.#random() < 0.3 ? 0 : this.#random();
      return;
    }
    for (const role of roles.slice(this.#actors.length)) this.#actors.push(this.#open(role));
    const i = Math.floor(this.#random() * this.#actors.length);
    const { process, work } = this.#actors[i];
    if (process.idle) return process.start(work);
    await this.#advance(process, this.#end());
    if (!process.dead) return;
    this.figures.crashes++;
    this.#actors[i].end();
    this.#actors[i] = this.#open(this.#actors[i].role);
  }

  async #advance(process: ModelProcess, end: StepEnd): Promise<void> {
    this.figures.steps++;
    await process.advance(this.#random, end);
  }

  #end(): StepEnd {
    if (!this.#faults) return "done";
    const draw = this.#random();
    if (draw < 0.015) return "crash";
    if (draw < 0.03) return "done, then crash";
    if (draw < 0.06) this.figures.refusals++;
    if (draw < 0.045) return "refused";
    return draw < 0.06 ? "done, but refused" : "done";
  }

  #crash({ process }: Actor): void {
    if (process.idle) return;
    process.crash();
    this.figures.crashes++;
  }

  async #send(): Promise<void> {
    const sequence = this.#packs++;
    const count = 1 + Math.floor(this.#random() * 3);
    const sent = requests(count, { method: this.#random() < 0.5 ? "GET" : "POST" }).map((request, i) => ({
      ...request,
      path: `/${sequence}/${i}`,
    }));
    for (const { path } of sent) this.#answers.set(path, 0);
    this.figures.sent += count;
    await this.#engine.ingress.queue.send([packMessage({ sequence, requests: sent })]);
  }

  /** A new process. Its state and its connections to the shadow are its own. */
  #open(role: Role): Actor {
    const process = new ModelProcess(() =>
      this.#random() < 0.5 ? new QueueError("UNAVAILABLE", "refused") : new StateError("refused"),
    );
    const { ingress, queue } = this.#engine;
    const state = this.#engine.openState();
    const config = target({
      name,
      url: this.#shadow.url,
      attempts: 2,
      breaker: { failures: 1_000_000, probeAfterMs: 1_000 },
    });
    const live = new LiveTarget(config, state.controls);
    const ledger = process.stepwise(state.ledger, ["recordFanOut", "settle", "reopen", "move", "sheet", "fannedOut"]);
    const own = process.stepwise(queue.queue, ["send", "receive", "delete", "extend"]);
    const dead = process.stepwise(queue.deadLetters, ["send", "receive", "delete", "extend"]);
    const entry = process.stepwise(ingress.queue, ["send", "receive", "delete", "extend"]);
    if (role === "operator") {
      const work = async () => {
        await this.#redrive(own, dead, ledger, { maxMessages: 1 + Math.floor(this.#random() * 20) });
      };
      return { role, process, end: () => {}, work };
    }
    if (role === "fan-out") {
      const app = createFanOut({
        targets: [live],
        queueOf: () => own,
        captures: [],
        ingress: entry,
        deadLetters: ingress.deadLetters,
        ledger,
        log,
      });
      return {
        role,
        process,
        end: () => {},
        work: () => this.#handle(entry, (delivery) => invoke(app, [delivery])),
      };
    }
    const transport = new Transport(config);
    const lane = createLane({
      live,
      transport,
      pacer: new Pacer(name, live, state.rounds),
      figures: new FigureBook(name, state.figures),
    });
    const app = createReplay({ lane, queue: own, deadLetters: dead, ledger, jobs: state.jobs, log });
    const end = () => void transport.close().catch(() => {});
    return { role, process, end, work: () => this.#handle(own, (delivery) => invoke(app, [delivery])) };
  }

  /** Does for one message what an event source mapping does. */
  async #handle(queue: QueueReceiver, handle: (delivery: Delivery) => Promise<readonly string[]>): Promise<void> {
    const [delivery] = await queue.receive({ max: 1, waitMs: 0, visibilityMs, signal: new AbortController().signal });
    if (!delivery) return;
    const failed = await handle(delivery);
    if (failed.length > 0) await queue.extend(delivery.receipt, 0);
    else await queue.delete([delivery.receipt]);
  }

  async #redrive(
    queue: OpenQueue["queue"],
    deadLetters: OpenQueue["deadLetters"],
    ledger: State["ledger"],
    bounds: { readonly maxMessages: number },
  ): Promise<Swept> {
    const limits = { ...bounds, maxMs: Number.POSITIVE_INFINITY, waitMs: 0, startedAtMs: this.#engine.now() };
    const redriven = await redrive({ queue, deadLetters, target: name, ledger, ...limits });
    this.figures.redriven += redriven.requests;
    return redriven;
  }

  /** Lets new processes do all work that is left, undisturbed. */
  async #drain(): Promise<void> {
    for (const actor of this.#actors.filter(({ process }) => process.dead)) actor.end();
    this.#actors = this.#actors.filter(({ process }) => !process.dead);
    for (const { process } of this.#actors) while (!process.idle) await this.#advance(process, "done");
    const workers = [this.#open("fan-out"), this.#open("worker")];
    for (;;) {
      await this.#engine.pass();
      for (const { process, work } of workers) {
        await process.start(work);
        while (!process.idle) await this.#advance(process, "done");
      }
      const { ingress, queue } = await this.#backlogs();
      if (ingress.messages + queue.messages === 0) break;
    }
    for (const { end } of workers) end();
  }

  /** No request is waiting: each is answered, or in a dead letter, and the ledger says the same. */
  async #checkAtRest(undisturbed: boolean): Promise<void> {
    const letters = await this.#letters();
    const { answered, dead, waiting, letters: counted } = await this.#totals();
    const { queue } = await this.#backlogs();
    const lost = [...this.#answers].filter(([path, count]) => count === 0 && !letters.has(path));
    this.figures.died += dead;
    check(lost.length === 0, `lost: ${lost}`);
    check(waiting === 0, `${waiting} requests wait according to the ledger, and no queue has any`);
    check(answered + dead === this.figures.sent, `${answered} answered and ${dead} dead of ${this.figures.sent}`);
    check(dead <= letters.size, `the ledger counts ${dead} dead letters, the queue has ${letters.size}`);
    check(counted <= queue.deadMessages, `the ledger counts ${counted} letters of ${queue.deadMessages}`);
    if (!undisturbed) return;
    const inLetters = [...letters.values()].reduce((sum, count) => sum + count, 0);
    check(dead === inLetters, `without a fault, ${dead} requests died, and ${inLetters} are in dead letters`);
    check(counted === queue.deadMessages, `without a fault, ${counted} letters, and ${queue.deadMessages} are there`);
  }

  /** Every request that is redriven dies again at once; the redrive ends, and takes no letter twice. */
  async #checkRedriveEnds(): Promise<void> {
    const { queue } = this.#engine;
    this.#mood = 0;
    const before = await this.#letters();
    const operator = new ModelProcess(() => new Error("unused"));
    const steps = ["send", "receive", "delete", "extend"] as const;
    const own = operator.stepwise(queue.queue, steps);
    const dead = operator.stepwise(queue.deadLetters, steps);
    let redriven: Swept | undefined;
    await operator.start(async () => {
      redriven = await this.#redrive(own, dead, this.#state.ledger, { maxMessages: 1_000_000 });
    });
    const worker = this.#open("worker");
    for (let turns = 0; !operator.idle; turns++) {
      check(turns < 10_000, "the redrive does not end");
      await this.#advance(operator, "done");
      await worker.process.start(worker.work);
      while (!worker.process.idle) await this.#advance(worker.process, "done");
    }
    worker.end();
    check(
      redriven?.done === true && redriven.requests <= before.size,
      `redrove ${redriven?.requests} of ${before.size}`,
    );
  }

  async #redriveAll(): Promise<void> {
    for (let turns = 0; ; turns++) {
      check(turns < 100, "dead letters are left after 100 redrives");
      await this.#drain();
      const { queue } = this.#engine;
      const { deadMessages } = await queue.backlog();
      if (deadMessages === 0) return;
      await this.#redrive(queue.queue, queue.deadLetters, this.#state.ledger, { maxMessages: 1_000_000 });
    }
  }

  async #checkAllAnswered(): Promise<void> {
    const never = [...this.#answers].filter(([, count]) => count === 0);
    const { answered, dead, waiting, letters } = await this.#totals();
    check(never.length === 0, `never answered: ${never}`);
    check(dead + waiting + letters === 0, `left: ${dead} dead in ${letters} letters, ${waiting} waiting`);
    check(answered === this.figures.sent, `${answered} of ${this.figures.sent} are answered`);
  }

  /** At any moment, also after a crash, queues hold at least what the ledger counts. */
  #checkMoment({ dead, waiting, letters }: Totals, { queue }: Backlogs): void {
    const { requests = 0, deadMessages, deadRequests = 0 } = queue;
    check(dead <= deadRequests, `${dead} requests are dead letters, ${deadRequests} are in the queue`);
    check(letters <= deadMessages, `${letters} dead letters, ${deadMessages} are in the queue`);
    check(waiting <= requests, `${waiting} requests wait, ${requests} are in the queue`);
  }

  /** The paths of the requests in dead letters, and in how many letters each is. */
  async #letters(): Promise<ReadonlyMap<string, number>> {
    const found = new Map<string, number>();
    for (const letter of await this.#engine.queue.deadLetters.browse(1_000)) {
      for (const { path } of packIn(letter).requests) found.set(path, (found.get(path) ?? 0) + 1);
    }
    return found;
  }

  async #totals() {
    return toTotals(await this.#state.ledger.totals());
  }

  async #backlogs() {
    const [ingress, queue] = await Promise.all([this.#engine.ingress.backlog(), this.#engine.queue.backlog()]);
    return { ingress, queue };
  }
}

type Totals = ReturnType<typeof toTotals>;
type Backlogs = Record<"ingress" | "queue", Awaited<ReturnType<OpenQueue["backlog"]>>>;

function toTotals({ targets }: LedgerTotals) {
  const { enqueued = 0, fates, letters = 0 } = targets.get(name) ?? {};
  const counts = Object.entries(fates ?? {});
  const answered = counts.reduce((sum, [fate, count]) => sum + (fate.startsWith("answered") ? count : 0), 0);
  const dead = fates?.deadLettered ?? 0;
  return { answered, dead, letters, waiting: enqueued - counts.reduce((sum, [, count]) => sum + count, 0) };
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}
