import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "../relay/config/config.ts";
import { type Logger, Throttle } from "../relay/log/log.ts";
import { runService } from "../relay/process/service.ts";
import { AckLatency } from "./ack-latency.ts";
import { serveAdmin } from "./admin.ts";
import { EventLoopDelay } from "./event-loop-delay.ts";
import { Dump, type PackSink } from "./intake/dump.ts";
import { Intake } from "./intake/intake.ts";
import { Packer } from "./intake/packer.ts";
import { addTo, createLedger } from "./ledger.ts";
import { Listener } from "./listener/listener.ts";
import { type AgentVitals, createAgentMetrics } from "./metrics.ts";
import { Shipper } from "./shipper/shipper.ts";
import { toAgentStats } from "./stats.ts";
import { answerPrimary, sayFarewell, workerSlot } from "./worker-channel.ts";
import { startWorkers } from "./workers.ts";

/** From the first signal to the exit, in milliseconds. */
const stopWithinMs = 10_000;

/** A running agent. */
interface RunningAgent {
  /** Where HAProxy connects. */
  readonly address: string;
  /** Drains and resolves with the number of requests that could not be saved. */
  stop(): Promise<number>;
  /** Requests that would be lost if the process ended now. */
  readonly pending: number;
}

/**
 * Runs the agent until it is told to stop and resolves with the exit code, see `runService`. With `dump` it prints requests
 * on standard output instead of enqueueing them, and logs on standard error.
 */
export function runAgent(configFile: string, dump: boolean): Promise<number> {
  if (!dump) {
    return runService(configFile, (config, log) =>
      config.agent.workers > 1 && cluster.isPrimary ? startWorkers(config, log) : startAgent(config, log),
    );
  }
  return runService(configFile, (config, log) => startAgent(config, log, process.stdout), 2);
}

/** Wires the agent together and starts it, with `dumpTo` without a queue. Rejects where an address is taken. */
async function startAgent(config: Config, log: Logger, dumpTo?: Writable): Promise<RunningAgent> {
  const { agent: options } = config;
  const name = `${options.name}~${randomBytes(4).toString("hex")}`;
  const since = new Date().toISOString();
  const ledger = createLedger();
  const unusableLog = new Throttle();
  const ackLatency = new AckLatency();
  const eventLoopDelay = new EventLoopDelay();
  let frames = 0;
  let draining = false;

  const packer = new Packer({
    agent: name,
    targetBytes: options.pack.bytes,
    maxRequests: options.pack.requests,
    lingerMs: options.pack.lingerMs,
    ledger,
    createId: () => randomBytes(16),
    hasRoom: () => shipper.waitingBytes < options.bufferBytes,
    ship: (pack) => shipper.ship(pack),
  });
  const shipper: PackSink = dumpTo
    ? new Dump(dumpTo, ledger, (buffer) => packer.recycle(buffer))
    : new Shipper({
        worker: {
          agent: name,
          ingress: config.ingress,
          ...(options.journal && { journal: journalOf(options.journal) }),
        },
        ledger,
        log,
        onSealed: (contentBytes, sealedBytes, buffer) => {
          packer.learnRatio(contentBytes, sealedBytes);
          packer.recycle(buffer);
        },
      });
  const intake = new Intake({
    sample: options.sample,
    ...(options.when && { when: options.when }),
    redactHeaders: options.redactHeaders,
    ledger,
    packer,
    nowMs: Date.now,
    random: Math.random,
    onUnknownArgument: (argument) =>
      log.warn({ event: "unknown-argument", argument }, "an argument in spoe-message is not understood and ignored"),
    onUnusable: (reason) =>
      unusableLog.run(Date.now(), (heldBack) =>
        log.warn({ event: "unusable", reason, heldBack }, "a message cannot be mirrored: check args in spoe-message"),
      ),
  });
  const listener = new Listener({
    address: options.listen,
    ...(options.tls && { tls: options.tls }),
    ...(options.allow && { allow: options.allow }),
    ...(options.socket && { socket: options.socket }),
    maxFrameBytes: options.maxFrameBytes,
    onNotify: (bytes, start, end) => intake.take(bytes, start, end),
    onOversize: (count) => {
      ledger.seen += count;
      addTo(ledger.dropped, "oversize", count);
    },
    onAnswered: (elapsedMs, answeredFrames) => {
      ackLatency.observe(elapsedMs);
      frames += answeredFrames;
    },
    log,
  });
  const stats = () =>
    toAgentStats(name, since, ledger, {
      packs: shipper.packs,
      packBytes: shipper.sealedBytes,
      connections: listener.connections,
      waitingBytes: shipper.waitingBytes,
      journalBytes: shipper.journal.bytes,
      journalPacks: shipper.journal.packs,
    });
  const unready = (): string[] => {
    const { queue, journal } = shipper.problems;
    return [
      ...(draining ? ["draining"] : []),
      ...(queue === undefined ? [] : [`the queue takes no packs: ${queue}`]),
      ...(journal === undefined ? [] : [`the journal takes no packs, and a crash would lose them: ${journal}`]),
    ];
  };
  const vitals = (): AgentVitals => ({
    ready: unready().length === 0,
    accepted: listener.accepted,
    refused: listener.refusals,
    frames,
    queueUp: shipper.problems.queue === undefined,
    queueErrors: shipper.queueErrors,
    ...(options.journal && {
      journal: { up: shipper.problems.journal === undefined, maxBytes: options.journal.maxBytes },
    }),
  });
  const metrics = createAgentMetrics({ stats, vitals, ackLatency, eventLoopDelay });

  if (cluster.isWorker) answerPrimary(metrics, () => ({ stats: stats(), unready: unready() }));
  const admin = cluster.isWorker ? undefined : await serveAdmin(options.admin, { stats, metrics, unready });
  let address: string;
  try {
    address = await listener.listen();
  } catch (error) {
    admin?.close();
    await shipper.stop(0);
    throw error;
  }
  const reloadCertificates = () => listener.reloadCertificates();
  // Without certificates there is nothing to reload, and a terminal that is gone must not cost what is packed.
  // A second signal would end it at once, and of workers it is the first process that decides.
  const stopOnce = () => {
    if (!draining && !cluster.isWorker) process.kill(process.pid, "SIGTERM");
  };
  const onHangUp = options.tls ? reloadCertificates : stopOnce;
  process.on("SIGHUP", onHangUp);
  const lingerTimer = setInterval(() => packer.closeIfDue(Date.now()), Math.max(5, options.pack.lingerMs / 5));
  log.info({ event: "listening", address, agent: name }, "the agent waits for HAProxy");

  const stop = async (): Promise<number> => {
    const startedAtMs = Date.now();
    draining = true;
    log.info({ event: "draining", drainMs: options.drainMs, connections: listener.connections }, "the agent stops");
    // Until its next check HAProxy still opens connections: refused, each would cost a request its mirroring. Those that
    // are refused later tell an HAProxy whose check only connects.
    listener.failHealthChecks();
    if (listener.connections > 0) await sleep(options.drainMs / 2);
    listener.stopAccepting();
    if (listener.connections > 0) await sleep(options.drainMs / 2);
    await listener.disconnect();
    clearInterval(lingerTimer);
    packer.close();
    await shipper.stop(Math.max(1_000, stopWithinMs - 1_500 - (Date.now() - startedAtMs)));
    admin?.close();
    eventLoopDelay.stop();
    const givenUp = ledger.dropped.get("given up at exit") ?? 0;
    log.info({ event: "stopped", ...stats() }, "the agent has stopped");
    if (cluster.isWorker) await sayFarewell(stats(), givenUp);
    // Unheard, a hang-up would kill what is still being written.
    process.off("SIGHUP", onHangUp);
    return givenUp;
  };
  return {
    address,
    stop,
    get pending() {
      return ledger.pending;
    },
  };
}

/** Each worker has a journal of its own. The first takes over that of an agent without workers. */
function journalOf<Place extends { readonly directory: string }>(journal: Place): Place {
  const slot = workerSlot();
  return slot > 1 ? { ...journal, directory: join(journal.directory, `worker-${slot}`) } : journal;
}
