import { describe, expect, it } from "vitest";
import { shareMessage } from "../../../relay/queue/message.ts";
import { type Fate, fates } from "../../../relay/state/port.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { pack, packIn, packMessage, requests } from "../../support/data/packs.ts";

const path = "/v1/queues/old/dead-letters";

describe("the dead letters of a target that is no longer in the configuration", () => {
  it("are listed with the requests that wait, and shown", async () => {
    const bench = await benchWith({ waiting: 4, dead: 3 });
    const { json } = await bench.get(path);

    expect(json).toMatchObject({ queue: "old", messages: 2 });
    expect(json.letters).toEqual([
      expect.objectContaining({ requests: 3, reason: "refused" }),
      expect.objectContaining({ requests: 4, reason: "waits; its target is no longer in the configuration" }),
    ]);
    expect((await bench.get(`${path}/${json.letters[1].id}`)).json.contents).toHaveLength(4);
    expect(bench.removed.get("old")?.depth().messages).toBe(1);
  });

  it("are sent to another target at once with the requests that wait, and the ledger of both adds up", async () => {
    const bench = await benchWith({ waiting: 4, dead: 3 });
    const { status, json } = await bench.send("POST", `${path}/redrive`, { to: "staging" });
    const sent = (await bench.queue.browse(10)).map((message) => packIn(message).requests.length);

    expect([status, json]).toEqual([
      200,
      expect.objectContaining({ messages: 2, requests: 7, undecodable: 0, remaining: 0, done: true }),
    ]);
    expect(sent.sort()).toEqual([3, 4]);
    expect(await countsOf(bench, "old")).toEqual({ enqueued: 7, moved: 7 });
    expect(await countsOf(bench, "staging")).toEqual({ enqueued: 7 });
    expect((await bench.get("/stats")).json).not.toHaveProperty("removed");
  });

  it("need the name of a target in the configuration", async () => {
    const bench = await benchWith({ waiting: 1, dead: 1 });
    const none = await bench.send("POST", `${path}/redrive`);
    const itself = await bench.send("POST", `${path}/redrive`, { to: "old" });
    const unknown = await bench.send("POST", `${path}/redrive`, { to: "nobody" });

    expect([none.status, none.json.errors]).toEqual([
      400,
      [{ place: "body.to", detail: "old is no longer in the configuration: name a target to send to, of staging" }],
    ]);
    expect([itself.status, itself.json.errors]).toEqual([400, none.json.errors]);
    expect([unknown.status, unknown.json.detail]).toEqual([
      400,
      "body.to: there is no target nobody; the configuration has: staging",
    ]);
    expect(bench.removed.get("old")?.depth().messages).toBe(1);
  });

  it("are discarded for good with the requests that wait, and the ledger counts them", async () => {
    const bench = await benchWith({ waiting: 4, dead: 3 });
    await bench.removed.get("old")?.deadLetters.send([{ body: "{}", pack: Buffer.from("garbage"), requests: 0 }]);
    const { status, json } = await bench.send("POST", `${path}/discard`);

    expect([status, json]).toEqual([
      200,
      expect.objectContaining({ messages: 2, requests: 7, undecodable: 1, remaining: 0, done: true }),
    ]);
    expect(await countsOf(bench, "old")).toEqual({ enqueued: 7, discarded: 7 });
    expect((await bench.get(path)).json.letters).toEqual([]);
    expect(bench.log.lines).toContainEqual(expect.objectContaining({ level: "warn", event: "discarded", requests: 7 }));
  });

  it("can be discarded or sent one by one", async () => {
    const bench = await benchWith({ waiting: 4, dead: 3 });
    const [dead, waiting] = (await bench.get(path)).json.letters;
    const discarded = await bench.send("POST", `${path}/discard`, { id: waiting.id });
    const again = await bench.send("POST", `${path}/discard`, { id: waiting.id });
    const redriven = await bench.send("POST", `${path}/redrive`, { id: dead.id, to: "staging" });

    expect([discarded.json.requests, again.status, redriven.json.requests]).toEqual([4, 404, 3]);
    expect(await countsOf(bench, "old")).toEqual({ enqueued: 7, moved: 3, discarded: 4 });
  });

  it("leave out requests that were answered before the target was removed", async () => {
    const bench = await benchWith({ waiting: 4, dead: 0 });
    await bench.state.ledger.settle("old", pack({ sequence: 1 }).id, new Map([[1, "answered.2xx"]]));
    const { json } = await bench.send("POST", `${path}/redrive`, { to: "staging" });
    const [message] = await bench.queue.browse(1);

    expect(json.requests).toBe(3);
    expect(packIn(message).requests.map(({ index }) => index)).toEqual([0, 2, 3]);
    expect(await countsOf(bench, "old")).toEqual({ enqueued: 4, moved: 3, "answered.2xx": 1 });
  });

  it("of a replay job stay with the job, at whatever target", async () => {
    const bench = new ControlBench({ removed: ["old"] });
    const job = { ...pack({ requests: requests(2) }), job: { id: "j1", baseMs: 5 } };
    const { id } = job;
    const targets = new Map([["job/j1", new Map()]]);
    await bench.state.ledger.recordFanOut({ pack: id, agent: "job/j1", sequence: 1, requests: 2, targets });
    await bench.removed.get("old")?.send([shareMessage(job, job.requests, { attempt: 0 })]);
    await bench.send("POST", `${path}/redrive`, { to: "staging" });
    const moved = JSON.parse((await bench.queue.browse(1))[0].body);
    await bench.send("POST", "/v1/queues/staging/dead-letters/discard");

    expect(moved.job).toEqual({ id: "j1" });
    expect(await countsOf(bench, "job/j1")).toEqual({ enqueued: 2 });
    expect(await countsOf(bench, "old")).toBeUndefined();
  });

  it("are no warning any more once the queue's retention has removed them", async () => {
    const bench = await benchWith({ waiting: 4, dead: 3 });
    const before = await bench.get("/warnings");
    bench.nowMs += 5 * 86_400_000;
    const after = await bench.get("/warnings");

    expect([before.json.warnings.length, after.json.warnings]).toEqual([1, []]);
  });

  it("are named if a queue does not exist", async () => {
    const { status, json } = await (await benchWith({ waiting: 1, dead: 0 })).get("/v1/queues/nobody/dead-letters");

    expect([status, json.detail]).toEqual([
      404,
      "there is no queue nobody; dead letters are kept for: staging, old, ingress",
    ]);
  });
});

describe("the dead letters of a target in the configuration", () => {
  it("can be sent to another target; what waits stays", async () => {
    const bench = new ControlBench({ targets: [{ name: "a" }, { name: "b" }] });
    await fill(bench, "a", { waiting: 4, dead: 3 });
    const { json } = await bench.send("POST", "/v1/queues/a/dead-letters/redrive", { to: "b" });

    expect(json).toMatchObject({ requests: 3, remaining: 0 });
    expect(await countsOf(bench, "a")).toEqual({ enqueued: 7, moved: 3 });
    expect(await countsOf(bench, "b")).toEqual({ enqueued: 3 });
    expect(bench.queues.get("a")?.depth().requests).toBe(4);
    expect(bench.queues.get("b")?.depth().requests).toBe(3);
  });

  it("can be discarded; what waits stays", async () => {
    const bench = new ControlBench({ targets: [{ name: "a" }] });
    await fill(bench, "a", { waiting: 4, dead: 3 });
    await bench.send("POST", "/v1/queues/a/dead-letters/discard");

    expect(await countsOf(bench, "a")).toEqual({ enqueued: 7, discarded: 3 });
    expect(bench.queue.depth().requests).toBe(4);
    expect(bench.queue.deadLetters.depth().messages).toBe(0);
  });

  it("of the ingress queue are neither discarded nor sent to one target", async () => {
    const bench = new ControlBench();
    await bench.ingress.deadLetters.send([packMessage()]);
    const discarded = await bench.send("POST", "/v1/queues/ingress/dead-letters/discard");
    const moved = await bench.send("POST", "/v1/queues/ingress/dead-letters/redrive", { to: "staging" });

    expect([discarded.status, moved.status]).toEqual([400, 400]);
    expect(discarded.json.detail).toContain("redrive them instead");
    expect(bench.ingress.deadLetters.depth().messages).toBe(1);
  });
});

interface Left {
  readonly waiting: number;
  readonly dead: number;
}

async function benchWith(left: Left): Promise<ControlBench> {
  const bench = new ControlBench({ removed: ["old"] });
  await fill(bench, "old", left);
  return bench;
}

/** Puts packs into a queue and its dead letters, as fan-out and replay leave them. */
async function fill(bench: ControlBench, target: string, { waiting, dead }: Left): Promise<void> {
  const queue = bench.removed.get(target) ?? bench.queues.get(target);
  const { ledger } = bench.state;
  const put = async (sequence: number, count: number, send: (fields: { requests: unknown[] }) => Promise<unknown>) => {
    if (count === 0) return;
    const fields = { sequence, requests: requests(count) };
    const { id, agent } = pack(fields);
    await send(fields);
    const targets = new Map([[target, new Map()]]);
    await ledger.recordFanOut({ pack: id, agent, sequence, requests: count, targets });
  };
  await put(1, waiting, async (fields) => queue?.send([packMessage(fields as never)]));
  await put(2, dead, async (fields) => {
    const letter = packMessage(fields as never);
    await queue?.deadLetters.send([
      { ...letter, body: JSON.stringify({ ...JSON.parse(letter.body), reason: "refused" }) },
    ]);
    const settlement = new Map<number, Fate>(requests(dead).map((_, index) => [index, "deadLettered"]));
    await ledger.settle(target, pack({ sequence: 2 }).id, settlement);
  });
}

/** What the ledger counts for a name, without zeros; undefined if it counts nothing. */
async function countsOf(bench: ControlBench, name: string) {
  const totals = (await bench.state.ledger.totals()).targets.get(name);
  if (!totals) return undefined;
  const counted = fates.filter((fate) => totals.fates[fate] !== 0).map((fate) => [fate, totals.fates[fate]]);
  return { enqueued: totals.enqueued, ...Object.fromEntries(counted) };
}
