import { type Fate, fates, type LedgerCount, type LedgerTotals, type RunTotals } from "../port.ts";

/** Sums of the ledger: of all packs, or the part that one operation adds. */
export class Sums {
  readonly #agents = new Map<string, AgentSum>();
  readonly #targets = new Map<string, TargetSum>();

  /** Converts the parsed JSON of sums back into sums. */
  static parse({ a, t }: SumsJson): Sums {
    const sums = new Sums();
    for (const [agent, [packs, requests, lastSequence, heardDay]] of Object.entries(a ?? {})) {
      sums.#addAgent(agent, { packs, requests, lastSequence, heardDay });
    }
    for (const [target, [enqueued, counts]] of Object.entries(t ?? {})) {
      sums.enqueue(target, enqueued);
      for (const [fate, requests] of Object.entries(counts)) sums.count(target, fate as LedgerCount, requests);
    }
    return sums;
  }

  toJSON(): SumsJson {
    const agents = Array.from(
      this.#agents,
      ([agent, { packs, requests, lastSequence, heardDay }]) =>
        [agent, [packs, requests, lastSequence, ...(heardDay === undefined ? [] : [heardDay])]] as const,
    );
    const targets = Array.from(
      this.#targets,
      ([target, { enqueued, counts }]) =>
        [target, [enqueued, Object.fromEntries([...counts].filter(([, requests]) => requests !== 0))]] as const,
    );
    return {
      ...(agents.length > 0 && { a: Object.fromEntries(agents) }),
      ...(targets.length > 0 && { t: Object.fromEntries(targets) }),
    };
  }

  /** Counts a pack of an agent. */
  arrive(agent: string, requests: number, sequence: number): void {
    this.#addAgent(agent, { packs: 1, requests, lastSequence: sequence });
  }

  enqueue(target: string, requests: number): void {
    this.#target(target).enqueued += requests;
  }

  /** @param difference negative for fates that are withdrawn */
  count(target: string, what: LedgerCount, difference: number): void {
    const { counts } = this.#target(target);
    counts.set(what, (counts.get(what) ?? 0) + difference);
  }

  add(more: Sums): void {
    for (const [agent, sum] of more.#agents) this.#addAgent(agent, sum);
    for (const [target, { enqueued, counts }] of more.#targets) {
      this.enqueue(target, enqueued);
      for (const [fate, requests] of counts) this.count(target, fate, requests);
    }
  }

  /** Parts of the sums, by the number that `partOf` gives each name. */
  split(partOf: (name: string) => number): ReadonlyMap<number, Sums> {
    const parts = new Map<number, Sums>();
    const part = (name: string) => {
      const found = parts.get(partOf(name)) ?? new Sums();
      parts.set(partOf(name), found);
      return found;
    };
    for (const [agent, sum] of this.#agents) part(agent).#addAgent(agent, sum);
    for (const [target, { enqueued, counts }] of this.#targets) {
      const of = part(target);
      of.enqueue(target, enqueued);
      for (const [what, count] of counts) of.count(target, what, count);
    }
    return parts;
  }

  /** The names in the packs: runs of agents, and replay jobs. */
  agents(): readonly string[] {
    return [...this.#agents.keys()];
  }

  row(agent: string): AgentSum | undefined {
    return this.#agents.get(agent);
  }

  keepRow(agent: string, { packs, requests, lastSequence, heardDay }: AgentSum): void {
    this.#agents.set(agent, { packs, requests, lastSequence, heardDay });
  }

  dropRow(agent: string): void {
    this.#agents.delete(agent);
  }

  /** Notes when something last arrived from agents of which that is unknown, in days since 1970. Whether there are any. */
  hear(day: number): boolean {
    const unknown = [...this.#agents].filter(([, { heardDay }]) => heardDay === undefined);
    for (const [agent, sum] of unknown) this.#agents.set(agent, { ...sum, heardDay: day });
    return unknown.length > 0;
  }

  /** The names of all agents and targets. */
  names(): ReadonlySet<string> {
    return new Set([...this.#agents.keys(), ...this.#targets.keys()]);
  }

  /** Adds the sums of one name to those of another, and removes the first name. */
  move(from: string, to: string): void {
    const agent = this.#agents.get(from);
    if (agent) this.#addAgent(to, agent);
    this.#agents.delete(from);
    const target = this.#targets.get(from);
    if (target) {
      this.enqueue(to, target.enqueued);
      for (const [fate, requests] of target.counts) this.count(to, fate, requests);
    }
    this.#targets.delete(from);
  }

  /** Agents and targets are sorted by name. */
  toTotals(): LedgerTotals {
    return {
      agents: sortByName(this.#agents).map(([agent, { packs, requests, lastSequence }]) => ({
        agent,
        packs,
        requests,
        lastSequence,
      })),
      targets: new Map(
        sortByName(this.#targets).map(([target, { enqueued, counts }]) => [
          target,
          {
            enqueued,
            fates: Object.fromEntries(fates.map((fate) => [fate, counts.get(fate) ?? 0])) as Record<Fate, number>,
            letters: counts.get("letters") ?? 0,
            waitingPacks: counts.get("waitingPacks") ?? 0,
          },
        ]),
      ),
    };
  }

  #addAgent(agent: string, { packs, requests, lastSequence, heardDay }: AgentSum): void {
    const sum = this.#agents.get(agent);
    this.#agents.set(agent, {
      packs: packs + (sum?.packs ?? 0),
      requests: requests + (sum?.requests ?? 0),
      lastSequence: Math.max(lastSequence, sum?.lastSequence ?? lastSequence),
      heardDay: latest(sum?.heardDay, heardDay),
    });
  }

  #target(target: string): TargetSum {
    const sum = this.#targets.get(target) ?? { enqueued: 0, counts: new Map() };
    this.#targets.set(target, sum);
    return sum;
  }
}

/**
 * `a`: packs, requests and last sequence of each agent, and in bases the day on which it was last heard of; `t`: enqueued and fates of each target. The names are short because
 * every byte is billed with every write.
 */
export interface SumsJson {
  readonly a?: Readonly<Record<string, readonly number[]>>;
  readonly t?: Readonly<Record<string, readonly [number, Readonly<Record<string, number>>]>>;
}

interface AgentSum extends RunTotals {
  readonly heardDay?: number | undefined;
}

interface TargetSum {
  enqueued: number;
  readonly counts: Map<LedgerCount, number>;
}

function latest(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other);
}

function sortByName<T>(sums: ReadonlyMap<string, T>): readonly (readonly [string, T])[] {
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1));
}
