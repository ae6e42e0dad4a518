import { styleText } from "node:util";
import { type Fate, fates } from "../state/port.ts";
import type { AgentStats } from "./agent-stats.ts";
import type { AgentArrivals, CaptureStats, HostStats, IngressStats, JobStats, SettledStats } from "./host-stats.ts";
import { type Claims, findShortfall, sumContents } from "./shortfall.ts";
import { warningsOf } from "./warnings.ts";

/** One equation of the ledger: a whole, its parts, and whether they add up. */
export interface Equation {
  readonly title: string;
  readonly whole: readonly [name: string, count: number];
  readonly parts: readonly (readonly [name: string, count: number, details?: string])[];
  /** Requests; in SQS, where only messages are counted, it may be messages. */
  readonly unaccounted: number;
  /** Where they are missing, if that is known. */
  readonly lacking?: readonly string[];
  /**
   * What only messages show, if it adds up: SQS does not count requests, and a pack may be in several messages. One of them may
   * hide that another is lost.
   */
  readonly unproven?: readonly string[];
  /** Why the requests need attention although they add up. */
  readonly remark?: string;
}

/** The ledger of agent and host as equations. Without the agent's counts, only the equations of the host. */
export function toEquations(agent: AgentStats | undefined, host: HostStats): Equation[] {
  const equations: Equation[] = [];
  if (agent) {
    equations.push(agentEquation(agent));
    const arrivals = host.agents.filter((arrived) => agent.runs.includes(arrived.agent));
    equations.push(ingressEquation(agent, arrivals, host.ingress));
  }
  for (const [name, stats] of Object.entries(host.targets)) equations.push(targetEquation(name, stats));
  const removed = host.removed ?? {};
  for (const { target, detail } of warningsOf(host)) {
    equations.push({ ...targetEquation(target, removed[target]), remark: detail });
  }
  for (const [name, stats] of Object.entries(host.captures ?? {})) {
    equations.push(captureEquation(name, stats, host.ingress));
  }
  const jobs = Object.values(host.jobs ?? {});
  // The packs of a job stay in the queue of its target, even if the target is removed.
  const queues = [...Object.values(host.targets), ...Object.values(removed)];
  if (jobs.length > 0) equations.push(jobsEquation(jobs, queues));
  return equations;
}

/**
 * Whether every request is accounted for. Requests of a target that is no longer in the configuration are: they wait in its
 * queue. Nobody delivers them, which `warningsOf` says.
 */
export function addsUp(equations: readonly Equation[]): boolean {
  return equations.every(({ unaccounted }) => unaccounted === 0);
}

/** The equations as text, a paragraph each, with colours if `stream` is a terminal. */
export function formatEquations(equations: readonly Equation[], stream: NodeJS.WriteStream): string {
  return equations.map((equation) => formatEquation(equation, stream)).join("\n");
}

function agentEquation(stats: AgentStats): Equation {
  const parts: Equation["parts"] = [
    ["sampled out", stats.sampledOut],
    ["filtered", stats.filtered],
    ["looped", stats.looped],
    ["upgrade", stats.upgrade ?? 0],
    ["unreplayable", sum(stats.unreplayable ?? {}), details(stats.unreplayable ?? {})],
    ["unusable", sum(stats.unusable), details(stats.unusable)],
    ["dropped", sum(stats.dropped), details(stats.dropped)],
    ["being packed", stats.pending],
    ["enqueued", stats.enqueued],
    ...leftInJournal(stats),
  ];
  return {
    title: `agent ${stats.agent} since ${stats.since}`,
    whole: ["seen", stats.seen],
    parts,
    unaccounted: Math.abs(stats.seen - parts.reduce((total, [, count]) => total + count, 0)),
  };
}

function leftInJournal({ died, recovered }: AgentStats): Equation["parts"] {
  if (!died || died.leftInJournal === 0) return [];
  return [["left in the journal by workers that died", died.leftInJournal, `recovered since: ${recovered}`]];
}

// The queue may also hold packs of other agents and earlier runs, so it may hold more than this agent's requests.
function ingressEquation(agent: AgentStats, arrivals: readonly AgentArrivals[], ingress: IngressStats): Equation {
  const all = sumRequests(arrivals);
  // Arrived requests that a dead worker's last report lacks: sent after it, or by the worker's successor.
  const unreported = agent.died ? Math.max(0, sumRequests(arrivals, agent.died.runs) - agent.died.enqueued) : 0;
  const arrived = all - unreported;
  const fannedOut: Equation["parts"][number] =
    unreported === 0
      ? ["fanned out", arrived]
      : ["fanned out", arrived, `and ${unreported} that workers had not reported when they died`];
  const arrivedPacks = arrivals.reduce((total, { packs }) => total + packs, 0);
  const missing = agent.enqueued - arrived;
  const equation = { title: "ingress queue", whole: ["enqueued", agent.enqueued] } as const;
  const { messages, waiting, expired, deadLettered, deadMessages, problem } = ingress;
  if (waiting !== undefined) {
    return {
      lacking: setAside(ingress),
      ...equation,
      parts: [fannedOut, ["waiting, expired or undecodable", missing]],
      unaccounted: Math.abs(missing - Math.max(0, Math.min(missing, waiting + (deadLettered ?? 0) + (expired ?? 0)))),
    };
  }
  // SQS counts messages, not requests: the missing packs must be among them. If they are not, nobody knows how many of
  // the missing requests are lost: all of them count as unaccounted for.
  // The agent's packs include those of earlier runs from the journal. If there are any, it is only known that at least one
  // pack is missing.
  const missingPacks = agent.recovered > 0 ? 1 : agent.packs - arrivedPacks;
  const accountedFor = missing >= 0 && missingPacks <= (messages ?? 0) + (deadMessages ?? 0);
  const inSqs = problem === undefined ? `waiting in SQS: ${messages} messages` : `SQS does not answer: ${problem}`;
  return {
    ...equation,
    parts: [fannedOut, ["not fanned out", missing, `${inSqs}, undecodable: ${deadMessages ?? "?"}`]],
    unaccounted: missing === 0 || accountedFor ? 0 : Math.abs(missing),
    unproven:
      missing === 0
        ? []
        : [`at least ${missingPacks} of the agent's packs wait, the queue has ${messages ?? 0} messages of all agents`],
  };
}

function targetEquation(name: string, stats: SettledStats): Equation {
  const { enqueued, fates } = stats;
  const answered: Record<string, number> = {};
  for (const [fate, count] of Object.entries(fates)) {
    if (fate.startsWith("answered.") && count > 0) answered[fate.slice("answered.".length)] = count;
  }
  const { waiting, amongDead, unaccounted, lacking, unproven } = findShortfall(claimsOf(stats), stats);
  return {
    title: `target ${name}`,
    whole: ["enqueued", enqueued],
    parts: [
      ["filtered", fates.filtered],
      ["sampled out", fates.sampledOut],
      ["answered", sum(answered), details(answered)],
      ["expired", fates.expired],
      ["skipped", fates.skipped],
      ["dead-lettered", fates.deadLettered],
      ...givenUp(amongDead),
      ...byOperators(fates),
      ...((fates.dropped ?? 0) > 0 ? [["dropped, because its queue was full", fates.dropped] as const] : []),
      ["waiting", waiting],
    ],
    unaccounted: unaccounted + Math.max(0, sum(fates) - enqueued),
    lacking: [...lacking, ...setAside(stats)],
    unproven,
  };
}

function setAside({ damaged = [] }: Pick<SettledStats, "damaged">): readonly string[] {
  return damaged.map((file) => `they may be in ${file}, which was damaged and set aside`);
}

function claimsOf({ enqueued, fates, letters = 0, waitingPacks = 0 }: SettledStats | JobStats): Claims {
  return { waiting: Math.max(0, enqueued - sum(fates)), waitingPacks, dead: fates.deadLettered, letters };
}

/** Empty if there are none, the usual case. */
function givenUp(requests: number): Equation["parts"] {
  return requests === 0 ? [] : [["undecodable or given up by the queue", requests]];
}

/** What operators did with dead letters. Empty if they did nothing, the usual case. */
function byOperators({ moved, discarded }: Readonly<Record<"moved" | "discarded", number>>): Equation["parts"] {
  const parts: Equation["parts"] = [
    ["moved to another target", moved],
    ["discarded", discarded],
  ];
  return parts.filter(([, count]) => count > 0);
}

function captureEquation(name: string, stats: CaptureStats, ingress: IngressStats): Equation {
  const { enqueued, fates, waitingPacks = 1 } = stats;
  const settled = sum(fates);
  // Requests without a fate are in the ingress queue, which also holds other packs. SQS counts only messages: if there are fewer
  // than waiting packs, nobody knows how many of the requests are lost.
  const { messages = 0 } = ingress;
  const inQueue = ingress.waiting ?? (messages >= Math.max(1, waitingPacks) ? Number.POSITIVE_INFINITY : 0);
  const waiting = Math.max(0, Math.min(enqueued - settled, inQueue));
  return {
    title: `capture ${name}`,
    whole: ["enqueued", enqueued],
    parts: [
      ["filtered", fates.filtered],
      ["sampled out", fates.sampledOut],
      ["captured", fates.captured],
      ...(fates.expired > 0 ? [["expired", fates.expired] as const] : []),
      ["skipped", fates.skipped],
      ["waiting", waiting],
    ],
    unaccounted: Math.abs(enqueued - settled - waiting),
    unproven:
      waiting > 0 && ingress.waiting === undefined
        ? [`at least ${waitingPacks} packs wait, the ingress queue has ${messages} messages, for captures and targets`]
        : [],
  };
}

/** All replay jobs in one equation: there may be hundreds, most of them ended. */
function jobsEquation(jobs: readonly JobStats[], targets: readonly SettledStats[]): Equation {
  const fed = jobs.reduce((total, { enqueued }) => total + enqueued, 0);
  const count = (fate: Fate) => jobs.reduce((total, { fates }) => total + fates[fate], 0);
  const answered: Record<string, number> = {};
  for (const fate of fates) {
    if (fate.startsWith("answered.") && count(fate) > 0) answered[fate.slice("answered.".length)] = count(fate);
  }
  const settled = jobs.reduce((total, job) => total + sum(job.fates), 0);
  const claims = jobs.map(claimsOf).reduce((one, other) => ({
    waiting: one.waiting + other.waiting,
    waitingPacks: one.waitingPacks + other.waitingPacks,
    dead: one.dead + other.dead,
    letters: one.letters + other.letters,
  }));
  // They are in the queues of targets, beside the packs of agents.
  const contents = sumContents(targets.map((stats) => findShortfall(claimsOf(stats), stats).spare));
  const { waiting, amongDead, unaccounted, lacking, unproven } = findShortfall(claims, contents);
  return {
    title: "replay jobs",
    whole: ["fed", fed],
    parts: [
      ["answered", sum(answered), details(answered)],
      ["expired", count("expired")],
      ["skipped", count("skipped")],
      ["cancelled", count("cancelled")],
      ["dead-lettered", count("deadLettered")],
      ...givenUp(amongDead),
      ...byOperators({ moved: count("moved"), discarded: count("discarded") }),
      ["waiting", waiting],
    ],
    unaccounted: unaccounted + Math.max(0, settled - fed),
    lacking,
    unproven,
  };
}

function formatEquation(equation: Equation, stream: NodeJS.WriteStream): string {
  const { title, whole, parts, unaccounted, lacking = [], unproven = [], remark } = equation;
  const paint = (format: Parameters<typeof styleText>[0], text: string) => styleText(format, text, { stream });
  const terms = parts.map(([name, count, more]) => {
    const term = `${name} ${count}${more ? ` (${more})` : ""}`;
    return count === 0 ? paint("dim", term) : term;
  });
  const proven =
    unproven.length === 0
      ? paint("green", "✓ adds up")
      : paint("yellow", `~ adds up as far as SQS tells: ${unproven.join("; ")}`);
  const good = remark === undefined ? proven : paint("yellow", "! adds up, but needs you");
  const bad = [`✗ ${unaccounted} unaccounted for`, ...lacking].join("; ");
  const verdict = unaccounted === 0 ? good : paint("red", bad);
  const lines = [paint("bold", title), `${whole[0]} ${whole[1]} = ${terms.join(" + ")}`, verdict];
  return [...lines, ...(remark === undefined ? [] : [remark])].join("\n  ");
}

function sumRequests(arrivals: readonly AgentArrivals[], of?: readonly string[]): number {
  return arrivals.reduce((total, { agent, requests }) => (!of || of.includes(agent) ? total + requests : total), 0);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function details(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}
