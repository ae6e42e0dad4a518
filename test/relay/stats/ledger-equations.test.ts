import { stripVTControlCharacters } from "node:util";
import { describe, expect, it } from "vitest";
import { type Fate, fates } from "../../../relay/state/port.ts";
import type { AgentStats } from "../../../relay/stats/agent-stats.ts";
import type { HostStats, IngressStats, SettledStats, TargetStats } from "../../../relay/stats/host-stats.ts";
import { addsUp, formatEquations, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { isWaiting, warningsOf } from "../../../relay/stats/warnings.ts";

describe("the ledger of a target", () => {
  it("adds up over all fates and the waiting requests", () => {
    const others: readonly Fate[] = ["captured", "cancelled", "moved", "discarded"];
    const ofTargets = fates.filter((fate) => !others.includes(fate));
    const host = hostStats({
      enqueued: 90,
      fates: counted(...ofTargets.map((fate, i) => [fate, i + 1] as const)),
      inQueue: 12,
      inDeadLetters: 11,
    });
    const [equation] = toEquations(undefined, host);

    expect(equation).toMatchObject({ title: "target staging", whole: ["enqueued", 90], unaccounted: 0 });
    expect(equation.parts).toEqual([
      ["filtered", 1],
      ["sampled out", 2],
      ["answered", 33, "1xx 3, 2xx 4, 3xx 5, 4xx 6, 5xx 7, malformed 8"],
      ["expired", 9],
      ["skipped", 10],
      ["dead-lettered", 11],
      ["dropped, because its queue was full", 12],
      ["waiting", 12],
    ]);
  });

  it("names what operators moved or discarded, if there is any", () => {
    const settled = counted(["answered.2xx", 1], ["moved", 2], ["discarded", 3]);
    const [equation] = toEquations(undefined, hostStats({ enqueued: 6, fates: settled, inQueue: 0 }));

    expect(equation).toMatchObject({ unaccounted: 0 });
    expect(equation.parts).toContainEqual(["moved to another target", 2]);
    expect(equation.parts).toContainEqual(["discarded", 3]);
  });

  it("adds up while a pack is in flight: some of its requests are done, but the queue counts them all", () => {
    const host = hostStats({ enqueued: 100, fates: counted(["answered.2xx", 60]), inQueue: 100 });

    expect(toEquations(undefined, host)).toMatchObject([{ unaccounted: 0 }]);
  });

  it.each([
    ["a request is missing", { enqueued: 10, fates: counted(["answered.2xx", 7]), inQueue: 2 }, 1],
    ["all requests are missing", { enqueued: 10, inQueue: 0 }, 10],
    [
      "more requests are settled than were enqueued",
      { enqueued: 10, fates: counted(["answered.2xx", 12]), inQueue: 0 },
      2,
    ],
  ])("does not add up if %s", (_, stats, unaccounted) => {
    const equations = toEquations(undefined, hostStats(stats));

    expect(equations).toMatchObject([{ unaccounted }]);
    expect(addsUp(equations)).toBe(false);
  });
});

describe("the ledger of a target that is no longer in the configuration", () => {
  const old: SettledStats = {
    enqueued: 500,
    fates: counted(["answered.2xx", 93], ["deadLettered", 7]),
    messages: 4,
    inQueue: 400,
    deadMessages: 1,
    inDeadLetters: 7,
  };
  const withOld = (changes: Partial<SettledStats> = {}, target: Partial<TargetStats> = {}) => ({
    ...hostStats({ messages: 0, ...target }),
    removed: { old: { ...old, ...changes } },
  });

  it("adds up, and says that nobody delivers what waits, and what to do", () => {
    const equations = toEquations(undefined, withOld());
    const text = stripVTControlCharacters(formatEquations(equations, process.stderr));

    expect(equations[1]).toMatchObject({ title: "target old", whole: ["enqueued", 500], unaccounted: 0 });
    expect(equations[1].parts).toContainEqual(["waiting", 400]);
    expect(addsUp(equations)).toBe(true);
    expect(text).toContain(
      [
        "  ! adds up, but needs you",
        "  target old is no longer in the configuration: nobody delivers its requests (waiting: 400, dead letters: 7), and the queue's retention removes them; send them to another target: spoa-relay dlq redrive old --to staging, or discard them: spoa-relay dlq discard old",
      ].join("\n"),
    );
  });

  it("does not add up if a request is missing", () => {
    expect(toEquations(undefined, withOld({ inQueue: 399 }))[1].unaccounted).toBe(1);
    expect(addsUp(toEquations(undefined, withOld({ messages: 0, inQueue: 0, deadMessages: 0 })))).toBe(false);
  });

  it("names no other target unless exactly one has no history", () => {
    const warningOf = (stats: HostStats) => warningsOf(stats)[0].detail;
    const { staging } = withOld().targets;

    expect(warningOf(withOld({}, { enqueued: 1 }))).toContain("dlq redrive old --to TARGET,");
    expect(warningOf(withOld({}, { messages: 1 }))).toContain("dlq redrive old --to TARGET,");
    expect(warningOf({ ...withOld(), targets: { staging, next: staging } })).toContain("--to TARGET,");
    expect(warningOf({ ...withOld(), targets: { staging, next: { ...staging, enqueued: 1 } } })).toContain(
      "--to staging,",
    );
  });

  it("counts packs in SQS, and gives the reason if the queue does not answer", () => {
    const { inQueue: _, inDeadLetters: __, ...inSqs } = old;
    const { messages: ___, deadMessages: ____, ...silent } = inSqs;
    const host = hostStats({});

    expect(warningsOf({ ...host, removed: { old: inSqs } })).toMatchObject([
      { target: "old", waiting: { messages: 4 }, deadLetters: { messages: 1 } },
    ]);
    expect(warningsOf({ ...host, removed: { old: inSqs } })[0].detail).toContain("(packs waiting: 4, dead letters: 1)");
    expect(warningsOf({ ...host, removed: { old: { ...silent, problem: "denied" } } })[0].detail).toContain("denied");
  });

  it("needs a check to fail while requests wait, not for dead letters alone", () => {
    const waits = (changes: Partial<SettledStats>) => warningsOf(withOld(changes)).map(isWaiting);

    expect(waits({})).toEqual([true]);
    expect(waits({ messages: 0, inQueue: 0 })).toEqual([false]);
  });

  it("has the packs of replay jobs in its queue", () => {
    const jobs = { one: { enqueued: 10, packs: 2, fates: counted(["answered.2xx", 6]) } };
    const inOld = (inQueue: number) => ({
      old: { enqueued: 0, fates: counted(), messages: 1, inQueue, deadMessages: 0, inDeadLetters: 0 },
    });

    expect(addsUp(toEquations(undefined, { ...hostStats({}), jobs, removed: inOld(4) }))).toBe(true);
    expect(addsUp(toEquations(undefined, { ...hostStats({}), jobs, removed: inOld(3) }))).toBe(false);
  });
});

describe("the ledger of a target and its queues", () => {
  const dead = (changes: Changes) => {
    const [equation] = toEquations(
      undefined,
      hostStats({ enqueued: 9, fates: counted(["deadLettered", 9]), ...changes }),
    );
    return [equation.unaccounted, equation.lacking];
  };
  const waiting = (changes: Changes) => {
    const [equation] = toEquations(undefined, hostStats({ enqueued: 9, ...changes }));
    return [equation.unaccounted, equation.lacking];
  };
  const inSqs = { inQueue: undefined, inDeadLetters: undefined };

  it("does not add up if a dead letter is gone", () => {
    expect(dead({ inDeadLetters: 9 })).toEqual([0, []]);
    expect(dead({ inDeadLetters: 7 })).toEqual([2, ["the dead-letter queue lacks 2 of 9 requests"]]);
    expect(dead({ inDeadLetters: 7, expiredDeadLetters: 2 })).toEqual([0, []]);
  });

  it("adds up if a crash left a second copy of a dead letter", () => {
    expect(dead({ inDeadLetters: 10 })).toEqual([0, []]);
  });

  it("counts messages in SQS: a dead letter may hold several requests", () => {
    expect(dead({ ...inSqs, letters: 3, deadMessages: 3 })).toEqual([0, []]);
    expect(dead({ ...inSqs, letters: 3, deadMessages: 2 })).toEqual([
      1,
      ["the dead-letter queue lacks 1 of 3 messages"],
    ]);
    expect(waiting({ ...inSqs, waitingPacks: 4, messages: 4 })).toEqual([0, []]);
    expect(waiting({ ...inSqs, waitingPacks: 4, messages: 3 })).toEqual([
      1,
      ["the queue lacks 1 of 4 messages that wait"],
    ]);
    expect(waiting({ ...inSqs, waitingPacks: 4, messages: 0 })[0]).toBe(9);
  });

  it("says which queue lacks how many", () => {
    const host = hostStats({ enqueued: 9, fates: counted(["deadLettered", 4]), inQueue: 4, inDeadLetters: 1 });
    const text = stripVTControlCharacters(formatEquations(toEquations(undefined, host), process.stderr));

    expect(text).toContain(
      "✗ 4 unaccounted for; the dead-letter queue lacks 3 of 4 requests; the queue lacks 1 of 5 requests that wait",
    );
  });

  it("finds a pack that the queue gave up, or that cannot be decoded, among the dead letters", () => {
    const [equation] = toEquations(
      undefined,
      hostStats({ enqueued: 9, inQueue: 6, inDeadLetters: 3, deadMessages: 1 }),
    );

    expect(equation.unaccounted).toBe(0);
    expect(equation.parts).toContainEqual(["undecodable or given up by the queue", 3]);
    expect(equation.parts).toContainEqual(["waiting", 6]);
    expect(waiting({ ...inSqs, waitingPacks: 4, messages: 3, deadMessages: 1 })).toEqual([0, []]);
  });

  it("does not count dead letters as lost if their queue does not answer", () => {
    expect(dead({ ...inSqs, letters: 3, problem: "denied" })).toEqual([0, []]);
    expect(waiting({ ...inSqs, waitingPacks: 3, problem: "denied" })).toEqual([9, ["denied"]]);
  });
});

describe("the ledger of a capture", () => {
  const fates = counted(["filtered", 1], ["sampledOut", 2], ["captured", 3], ["skipped", 4]);

  it.each([
    ["adds up over all fates", 10, 0, 0, 0],
    ["adds up while some requests wait in the ingress queue", 15, 5, 5, 0],
    ["adds up while the ingress queue holds more than these requests", 15, 100, 5, 0],
    ["does not add up if a request is missing", 15, 4, 4, 1],
    ["does not add up if more requests are settled than were enqueued", 9, 0, 0, 1],
  ])("%s", (_, enqueued, inQueue, waiting, unaccounted) => {
    const host = { ...hostStats({}, { waiting: inQueue }), captures: { all: { enqueued, fates } } };
    const equation = toEquations(undefined, host).at(-1);

    expect(equation).toMatchObject({ title: "capture all", whole: ["enqueued", enqueued], unaccounted });
    expect(equation?.parts).toEqual([
      ["filtered", 1],
      ["sampled out", 2],
      ["captured", 3],
      ["skipped", 4],
      ["waiting", waiting],
    ]);
  });

  it("is short in SQS if the ingress queue has fewer messages than packs that wait", () => {
    const capture = { enqueued: 6_501, fates, waitingPacks: 44 };
    const inSqs = (messages: number) => ({
      ...hostStats({}),
      ingress: { messages, deadLettered: 0, deadMessages: 0 },
      captures: { all: capture },
    });

    expect(addsUp(toEquations(undefined, inSqs(44)))).toBe(true);
    expect(toEquations(undefined, inSqs(1)).at(-1)?.unaccounted).toBe(6_491);
  });

  it("adds up while SQS, which does not count requests, has messages", () => {
    const ingress = { messages: 1, deadLettered: 0, deadMessages: 0 };
    const host = { ...hostStats({}), ingress, captures: { all: { enqueued: 99, fates } } };

    expect(addsUp(toEquations(undefined, host))).toBe(true);
    expect(addsUp(toEquations(undefined, { ...host, ingress: { ...ingress, messages: 0 } }))).toBe(false);
  });
});

describe("the ledger of replay jobs", () => {
  it("adds up over all jobs, with the requests that wait in the queues of their targets", () => {
    const one = counted(["answered.2xx", 4], ["answered.5xx", 1], ["cancelled", 2]);
    const two = counted(["answered.2xx", 3], ["deadLettered", 1]);
    const jobs = { one: { enqueued: 10, packs: 2, fates: one }, two: { enqueued: 5, packs: 1, fates: two } };
    const [, equation] = toEquations(undefined, { ...hostStats({ inQueue: 4, inDeadLetters: 1 }), jobs });
    const [, lost] = toEquations(undefined, { ...hostStats({ inQueue: 3, inDeadLetters: 1 }), jobs });
    const [, lostLetter] = toEquations(undefined, { ...hostStats({ inQueue: 4 }), jobs });

    expect(equation).toMatchObject({ title: "replay jobs", whole: ["fed", 15], unaccounted: 0 });
    expect(equation.parts).toContainEqual(["answered", 8, "2xx 7, 5xx 1"]);
    expect(equation.parts).toContainEqual(["cancelled", 2]);
    expect(equation.parts).toContainEqual(["waiting", 4]);
    expect(lost.unaccounted).toBe(1);
    expect(lostLetter).toMatchObject({ unaccounted: 1, lacking: ["the dead-letter queue lacks 1 of 1 requests"] });
  });
});

describe("the ledger of an agent", () => {
  it("adds up over every outcome of a request", () => {
    const equations = toEquations(agentStats(), hostStats({ enqueued: 10, inQueue: 10 }, { requests: 10 }));

    expect(equations[0]).toMatchObject({ whole: ["seen", 43], unaccounted: 0 });
    expect(equations[0].parts).toContainEqual(["unusable", 7, "no path 3, no method 4"]);
    expect(addsUp(equations)).toBe(true);
  });

  it("adds up for an agent of an older version, which knows no upgrades", () => {
    const { upgrade, unreplayable, ...older } = agentStats({ seen: 36 });

    expect(toEquations(older, hostStats({ enqueued: 10 }))[0]).toMatchObject({ unaccounted: 0 });
  });

  it("does not add up if a request has no outcome", () => {
    expect(toEquations(agentStats({ seen: 44 }), hostStats({}))[0].unaccounted).toBe(1);
  });

  it.each([
    ["all are fanned out", { requests: 10 }, 0],
    ["the other requests wait in the ingress queue", { requests: 6, waiting: 4 }, 0],
    ["the other requests cannot be decoded", { requests: 6, deadLettered: 4 }, 0],
    ["the other requests are expired", { requests: 6, expired: 4 }, 0],
    ["other agents' requests wait as well", { requests: 6, waiting: 100 }, 0],
    ["a pack is lost before the queue", { requests: 6, waiting: 1 }, 3],
    ["more requests arrive than were sent", { requests: 13 }, 3],
    ["the host does not know its run", { agent: "another~1" }, 10],
  ])("finds what is unaccounted for if %s", (_, arrival, unaccounted) => {
    const [, ingress] = toEquations(agentStats(), hostStats({}, arrival));

    expect(ingress).toMatchObject({ title: "ingress queue", unaccounted });
  });
});

describe("the ledger of an agent with a dead worker", () => {
  const died = { runs: ["edge~1"], enqueued: 10, leftInJournal: 8 };

  it.each([
    ["adds up if its last report was complete", { requests: 10 }, true],
    ["adds up if more requests arrive than it had reported", { requests: 17 }, true],
    ["does not add up if fewer requests arrive", { requests: 9 }, false],
  ])("%s", (_, arrival, expected) => {
    const stats = agentStats({ pending: 0, recovered: 7, died });
    expect(addsUp(toEquations(stats, hostStats({}, arrival)))).toBe(expected);
  });
});

describe("the ledger of an agent whose queue counts messages only", () => {
  const inSqs = (arrival: Arrival) => {
    const { waiting: _waiting, expired: _expired, ...ingress } = hostStats({}, arrival).ingress;
    return toEquations(agentStats({ packs: 3 }), { ...hostStats({}, arrival), ingress })[1];
  };

  it.each<[string, Arrival, number]>([
    ["all packs are fanned out", { requests: 10, packs: 3 }, 0],
    ["the other packs wait", { requests: 6, packs: 1, messages: 2 }, 0],
    ["one pack waits and one is undecodable", { requests: 6, packs: 1, messages: 1, deadMessages: 1 }, 0],
    ["a pack is missing", { requests: 6, packs: 1, messages: 1 }, 4],
    ["the queue does not answer", { requests: 6, packs: 1, problem: "denied" }, 4],
  ])("finds what is unaccounted for if %s", (_, arrival, unaccounted) => {
    expect(inSqs(arrival).unaccounted).toBe(unaccounted);
  });
});

describe("formatEquations", () => {
  it("says whether each equation adds up", () => {
    const good = toEquations(undefined, hostStats({ enqueued: 3, fates: counted(["answered.2xx", 3]), inQueue: 0 }));
    const bad = toEquations(undefined, hostStats({ enqueued: 3, fates: counted(["expired", 1]), inQueue: 1 }));
    const text = (equations: typeof good) => stripVTControlCharacters(formatEquations(equations, process.stderr));

    expect(text(good)).toContain("enqueued 3 = filtered 0 + sampled out 0 + answered 3 (2xx 3) +");
    expect(text(good)).toContain("✓ adds up");
    expect(text(bad)).toContain("✗ 1 unaccounted for");
  });
});

describe("formatEquations, with queues in SQS", () => {
  const text = (host: HostStats, agent?: AgentStats) =>
    stripVTControlCharacters(formatEquations(toEquations(agent, host), process.stderr));
  const inSqs = { inQueue: undefined, inDeadLetters: undefined };

  it("shows no tick for requests that wait, because SQS counts only messages", () => {
    const target = { ...inSqs, enqueued: 6_500, fates: counted(["answered.2xx", 9]), waitingPacks: 44, messages: 45 };

    expect(text(hostStats(target))).toContain(
      "~ adds up as far as SQS tells: 44 packs wait, the queue has 45 messages",
    );
    expect(text(hostStats(target))).not.toContain("✓");
  });

  it("shows no tick for dead letters", () => {
    const target = { ...inSqs, enqueued: 9, fates: counted(["deadLettered", 9]), letters: 3, deadMessages: 3 };

    expect(text(hostStats(target))).toContain(
      "~ adds up as far as SQS tells: the ledger has 3 dead letters, the dead-letter queue 3",
    );
  });

  it("shows no tick for a capture or an agent whose packs wait in the ingress queue", () => {
    const ingress = { messages: 2, deadMessages: 0 };
    const captures = { all: { enqueued: 9, fates: counted(["captured", 1]), waitingPacks: 2 } };
    const host = { ...hostStats({ ...inSqs, messages: 0 }, { requests: 6, packs: 1 }), ingress, captures };
    const shown = text(host, agentStats({ packs: 3 }));

    expect(shown).toContain("at least 2 of the agent's packs wait, the queue has 2 messages of all agents");
    expect(shown).toContain("at least 2 packs wait, the ingress queue has 2 messages, for captures and targets");
  });

  it("shows the tick once every request has a fate, and a cross if messages are missing", () => {
    const done = { ...inSqs, enqueued: 9, fates: counted(["answered.2xx", 9]), messages: 1, deadMessages: 0 };

    expect(text(hostStats(done))).toContain("✓ adds up");
    expect(text(hostStats({ ...done, enqueued: 10, waitingPacks: 2 }))).toContain("✗ 1 unaccounted for");
  });
});

function counted(...counts: (readonly [Fate, number])[]): Record<Fate, number> {
  const none = Object.fromEntries(fates.map((fate) => [fate, 0]));
  return { ...none, ...Object.fromEntries(counts) } as Record<Fate, number>;
}

const live = { ratePerSecond: 1, concurrency: 1, sample: 1, paceFactor: 1 };

type Arrival = Partial<IngressStats> & { readonly agent?: string; readonly requests?: number; readonly packs?: number };

type Changes = { readonly [Key in keyof TargetStats]?: TargetStats[Key] | undefined };

/** A change to `undefined` omits the count, as in SQS. */
function hostStats(
  target: Changes,
  { agent = "edge~1", requests = 0, packs = 1, ...ingress }: Arrival = {},
): HostStats {
  return {
    ingress: { messages: 0, waiting: 0, deadLettered: 0, deadMessages: 0, expired: 0, ...ingress },
    agents: [{ agent, requests, packs, missingPacks: 0 }],
    targets: { staging: toStats(target) },
  };
}

function toStats(changes: Changes): TargetStats {
  const stats = { enqueued: 0, fates: counted(), inQueue: 0, inDeadLetters: 0, control: {}, live, ...changes };
  return Object.fromEntries(Object.entries(stats).filter(([, value]) => value !== undefined)) as unknown as TargetStats;
}

function agentStats(changes: Partial<AgentStats> = {}): AgentStats {
  return {
    agent: "edge~1",
    runs: ["edge~1"],
    since: "2026-01-02T03:04:05.678Z",
    seen: 43,
    sampledOut: 1,
    filtered: 2,
    looped: 3,
    upgrade: 4,
    unreplayable: { CONNECT: 2, "OPTIONS *": 1 },
    unusable: { "no path": 3, "no method": 4 },
    dropped: { buffer: 5 },
    pending: 8,
    enqueued: 10,
    packs: 1,
    packBytes: 1_000,
    connections: 1,
    waitingBytes: 0,
    recovered: 0,
    journalBytes: 0,
    journalPacks: 0,
    ...changes,
  };
}
