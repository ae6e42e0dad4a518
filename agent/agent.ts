import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { AgentConfig, Config } from "../relay/config/config.ts";
import { assertLoopKey, assertRedactable } from "../relay/config/replayable.ts";
import type { Logger } from "../relay/log/log.ts";
import { Outage } from "../relay/log/outage.ts";
import { createPackIds } from "../relay/pack/pack-id.ts";
import { runService, type Service } from "../relay/process/service.ts";
import type { LoopGuard } from "../relay/rules/loop-mark.ts";
import type { AgentStats } from "../relay/stats/agent-stats.ts";
import { AckLatency } from "./ack-latency.ts";
import { serveAdmin } from "./admin.ts";
import { CurrentWarnings } from "./current-warnings.ts";
import { EventLoopDelay } from "./event-loop-delay.ts";
import { Dump, type PackSink } from "./intake/dump.ts";
import { Intake } from "./intake/intake.ts";
import { createIntakeLog, logUnsignedMarks } from "./intake/intake-log.ts";
import { Packer } from "./intake/packer.ts";
import { createRedactor } from "./intake/redactor.ts";
import { addTo, createLedger } from "./ledger.ts";
import { Listener } from "./listener/listener.ts";
import { type AgentVitals, createAgentMetrics } from "./metrics.ts";
import { Shipper } from "./shipper/shipper.ts";
import { toAgentStats } from "./stats.ts";
import { answerPrimary, sayFarewell, workerSlot } from "./worker-channel.ts";
import { startWorkers } from "./workers.ts";

/** The longest time from the first signal to the exit, in milliseconds. */
const stopWithinMs = 10_000;
const bufferTexts = {
  down: [
    "buffer-full",
    "the agent's memory is full of packs that the queue has not taken: requests are dropped and counted; failures and heldBack count them",
  ],
  up: ["buffer-free", "the agent has memory again and keeps every request"],
} as const;
// Later, so that a thread that hangs is given up first, and then the workers before the process that counts their losses.
const overdueMs = cluster.isWorker ? 11_000 : 12_000;

/**
 * Runs the agent until it is told to stop; resolves with the exit code, see `runService`. With `dump` it prints requests to
 * standard output instead of enqueueing them, and logs to standard error.
 */
export function runAgent(configFile: string, dump: boolean): Promise<number> {
  return runService(configFile, {
    start: (config, log) => {
      assertLoopKey(config);
      assertRedactable(config);
      if (dump) return startAgent(config, log, process.stdout);
      return config.agent.workers > 1 && cluster.isPrimary ? startWorkers(config, log) : startAgent(config, log);
    },
    stopWithinMs: overdueMs,
    // The agent decides itself what SIGHUP means.
    signals: ["SIGTERM", "SIGINT"],
    logTo: dump ? 2 : 1,
  });
}

/** Starts the agent; with `dumpTo` it uses no queue. Rejects if an address is taken. */
async function startAgent(config: Config, log: Logger, dumpTo?: Writable): Promise<Service> {
  const agent = new Agent(config, log, dumpTo);
  await agent.start();
  return agent;
}

class Agent implements Service {
  readonly #options: AgentConfig;
  readonly #loopGuard: LoopGuard;
  readonly #name: string;
  readonly #since = new Date().toISOString();
  readonly #log: Logger;
  readonly #ledger = createLedger();
  readonly #ackLatency = new AckLatency();
  readonly #eventLoopDelay = new EventLoopDelay();
  readonly #packer: Packer;
  readonly #shipper: PackSink;
  readonly #listener: Listener;
  readonly #warnings = new CurrentWarnings();
  #frames = 0;
  #draining = false;
  #admin: Server | undefined;
  #lingerTimer: NodeJS.Timeout | undefined;

  constructor(config: Config, log: Logger, dumpTo?: Writable) {
    this.#options = config.agent;
    this.#loopGuard = config.loopGuard;
    this.#name = `${config.agent.name}~${randomBytes(4).toString("hex")}`;
    this.#log = log;
    this.#packer = this.#createPacker();
    this.#shipper = dumpTo
      ? new Dump(dumpTo, this.#ledger, (buffer) => this.#packer.recycle(buffer))
      : this.#createShipper(config.ingress);
    this.#listener = this.#createListener(this.#createIntake());
  }

  #createPacker(): Packer {
    const { pack, bufferBytes } = this.#options;
    const full = new Outage(this.#log, bufferTexts);
    const hasRoom = () => {
      const room = this.#shipper.waitingBytes < bufferBytes;
      if (!room) full.fail(`${this.#shipper.waitingBytes} bytes wait for the queue, agent.buffer is ${bufferBytes}`);
      else if (full.problem !== undefined) full.recover();
      return room;
    };
    return new Packer({
      agent: this.#name,
      targetBytes: pack.bytes,
      maxRequests: pack.requests,
      lingerMs: pack.lingerMs,
      ledger: this.#ledger,
      createId: createPackIds(),
      hasRoom,
      ship: (closed) => this.#shipper.ship(closed),
    });
  }

  #createShipper(ingress: Config["ingress"]): Shipper {
    const { journal } = this.#options;
    return new Shipper({
      worker: { agent: this.#name, ingress, ...(journal && { journal: journalOf(journal) }) },
      ledger: this.#ledger,
      log: this.#log,
      onSealed: (contentBytes, sealedBytes, buffer) => {
        this.#packer.learnRatio(contentBytes, sealedBytes);
        this.#packer.recycle(buffer);
      },
    });
  }

  #createIntake(): Intake {
    const { sample, when, redact } = this.#options;
    return new Intake({
      sample,
      ...(when && { when }),
      redactor: createRedactor(redact, this.#ledger, this.#log),
      loopGuard: this.#loopGuard,
      ledger: this.#ledger,
      packer: this.#packer,
      nowMs: Date.now,
      random: Math.random,
      ...createIntakeLog(this.#log, this.#warnings, this.#loopGuard),
    });
  }

  #createListener(intake: Intake): Listener {
    const { listen, tls, allow, socket, maxFrameBytes, connectionBufferBytes, workers } = this.#options;
    return new Listener({
      address: listen,
      ...(tls && { tls }),
      ...(allow && { allow }),
      ...(socket && { socket }),
      maxFrameBytes,
      maxHeldBytes: connectionBufferBytes / workers,
      onNotify: (bytes, start, end, peerFrameBytes, progress) =>
        intake.take(bytes, start, end, peerFrameBytes, progress),
      onOversize: (count) => {
        this.#ledger.seen += count;
        addTo(this.#ledger.dropped, "oversize", count);
      },
      onAnswered: (elapsedMs, answeredFrames) => {
        this.#ackLatency.observe(elapsedMs);
        this.#frames += answeredFrames;
      },
      log: this.#log,
    });
  }

  /** Rejects if an address is taken. */
  async start(): Promise<void> {
    await this.#serveFigures();
    let address: string;
    try {
      address = await this.#listener.listen();
    } catch (error) {
      this.#admin?.close();
      await this.#shipper.stop(0);
      throw error;
    }
    process.on("SIGHUP", this.#onHangUp);
    const { lingerMs } = this.#options.pack;
    this.#lingerTimer = setInterval(() => this.#packer.closeIfDue(), Math.max(5, lingerMs / 5));
    this.#log.info({ event: "listening", address, agent: this.#name }, "the agent is listening for HAProxy");
    logUnsignedMarks(this.#log, this.#loopGuard);
  }

  /** Serves figures and health. A worker sends them to the first process instead, which serves them for all workers. */
  async #serveFigures(): Promise<void> {
    const stats = () => this.#stats();
    const unready = () => this.#unready();
    const metrics = createAgentMetrics({
      stats,
      vitals: () => this.#vitals(),
      ackLatency: this.#ackLatency,
      eventLoopDelay: this.#eventLoopDelay,
    });
    if (cluster.isWorker) answerPrimary(metrics, () => ({ stats: stats(), unready: unready() }));
    else this.#admin = await serveAdmin(this.#options.admin, { stats, metrics, unready });
  }

  /** With TLS, SIGHUP reloads the certificates. Without it, SIGHUP means that the terminal was closed: the agent drains. */
  readonly #onHangUp = (): void => {
    if (this.#options.tls) this.#listener.reloadCertificates();
    // A draining agent ignores SIGHUP: a second signal would end the process at once. Workers leave the decision to the
    // first process.
    else if (!this.#draining && !cluster.isWorker) process.kill(process.pid, "SIGTERM");
  };

  #stats(): AgentStats {
    const { packs, sealedBytes, waitingBytes, journal } = this.#shipper;
    const warnings = this.#warnings.at(performance.now());
    return toAgentStats(this.#name, this.#since, this.#ledger, {
      packs,
      packBytes: sealedBytes,
      connections: this.#listener.connections,
      waitingBytes,
      journalBytes: journal.bytes,
      journalPacks: journal.packs,
      ...(warnings.length > 0 && { warnings }),
    });
  }

  #unready(): string[] {
    const { queue, journal } = this.#shipper.problems;
    return [
      ...(this.#draining ? ["draining"] : []),
      ...(queue === undefined ? [] : [`the queue does not accept packs: ${queue}`]),
      ...(journal === undefined ? [] : [`the journal does not accept packs, so a crash would lose them: ${journal}`]),
    ];
  }

  #vitals(): AgentVitals {
    const { journal } = this.#options;
    const { problems, queueErrors } = this.#shipper;
    return {
      ready: this.#unready().length === 0,
      accepted: this.#listener.accepted,
      refused: this.#listener.refusals,
      frames: this.#frames,
      heldBytes: this.#listener.heldBytes,
      queueUp: problems.queue === undefined,
      queueErrors,
      ...(journal && { journal: { up: problems.journal === undefined, maxBytes: journal.maxBytes } }),
    };
  }

  /** Requests that would be lost if the process ended now. */
  get pending(): number {
    return this.#ledger.pending;
  }

  /** Drains and resolves with the number of requests that could not be saved. */
  async stop(): Promise<number> {
    const startedAtMs = performance.now();
    this.#draining = true;
    await this.#disconnect();
    clearInterval(this.#lingerTimer);
    this.#packer.close();
    await this.#shipper.stop(Math.max(1_000, stopWithinMs - 1_500 - (performance.now() - startedAtMs)));
    this.#admin?.close();
    this.#eventLoopDelay.stop();
    const givenUp = this.#ledger.dropped.get("given up at exit") ?? 0;
    this.#log.info({ event: "stopped", ...this.#stats() }, "the agent has stopped");
    if (cluster.isWorker) await sayFarewell(this.#stats(), givenUp);
    // Removed last: without a handler, SIGHUP would kill the process while it still writes.
    process.off("SIGHUP", this.#onHangUp);
    return givenUp;
  }

  async #disconnect(): Promise<void> {
    const { drainMs } = this.#options;
    const listener = this.#listener;
    this.#log.info({ event: "draining", drainMs, connections: listener.connections }, "the agent is stopping");
    // Until its next health check HAProxy still opens connections. Refusing one would lose a request, so the agent accepts
    // them for half of the drain time. Connections refused after that tell an HAProxy whose check only connects.
    listener.failHealthChecks();
    if (listener.connections > 0) await sleep(drainMs / 2);
    listener.stopAccepting();
    if (listener.connections > 0) await sleep(drainMs / 2);
    await listener.disconnect();
  }
}

/** Each worker has its own journal. The first worker takes over the journal of an agent without workers. */
function journalOf<Place extends { readonly directory: string }>(journal: Place): Place {
  const slot = workerSlot();
  return slot > 1 ? { ...journal, directory: join(journal.directory, `worker-${slot}`) } : journal;
}
