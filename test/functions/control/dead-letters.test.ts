import { describe, expect, it } from "vitest";
import { shareMessage } from "../../../relay/queue/message.ts";
import type { OutgoingMessage } from "../../../relay/queue/port.ts";
import { ControlBench } from "../../support/benches/control-bench.ts";
import { pack, packIn, packMessage, requests } from "../../support/data/packs.ts";

const path = "/v1/queues/staging/dead-letters";
const garbage = { body: '{"reason":"no pack"}', pack: Buffer.from("garbage"), requests: 2 };

describe("GET /v1/queues/{queue}/dead-letters", () => {
  it("lists the dead letters with their reasons, oldest first", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 3), garbage]);
    const { status, json } = await bench.get(path);

    expect([status, json.queue, json.messages]).toEqual([200, "staging", 2]);
    expect(json.letters).toEqual([
      {
        id: expect.stringMatching(/^\d+$/),
        requests: 3,
        reason: "refused",
        firstCapturedAt: "2026-01-02T03:04:05.678Z",
        sentAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
      { id: expect.any(String), reason: "no pack", sentAt: expect.any(String) },
    ]);
  });

  it("lists up to limit dead letters, and says how many there are", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send(Array.from({ length: 130 }, () => garbage));

    expect(await listed(bench, path)).toEqual([100, 130]);
    expect(await listed(bench, `${path}?limit=1`)).toEqual([1, 130]);
    expect(await listed(bench, `${path}?limit=1000`)).toEqual([130, 130]);
  });

  it("lists the dead letters of the ingress queue under ingress", async () => {
    const bench = new ControlBench();
    await bench.ingress.deadLetters.send([garbage]);

    expect(await listed(bench, "/v1/queues/ingress/dead-letters")).toEqual([1, 1]);
    expect(await listed(bench, path)).toEqual([0, 0]);
  });

  it.each(["limit=0", "limit=1001", "limit=-1", "limit=ten"])("refuses %s", async (query) => {
    const { status, json } = await new ControlBench().get(`${path}?${query}`);

    expect([status, json.errors[0].place]).toEqual([400, "query.limit"]);
  });

  it("names the existing queues if one does not exist", async () => {
    const { status, json } = await new ControlBench().get("/v1/queues/nobody/dead-letters");

    expect([status, json.detail]).toEqual([
      404,
      "there is no queue nobody; dead letters are kept for: staging, ingress",
    ]);
  });
});

describe("GET /v1/queues/{queue}/dead-letters/{id}", () => {
  it("shows the requests without their credentials", async () => {
    const bench = new ControlBench();
    const headers = ["Host", "shop.example", "Cookie", "session=s3cret", "Authorization", "Bearer s3cret"];
    await bench.queue.deadLetters.send([deadLetter("refused", 1, { headers, body: Buffer.from("tea") })]);
    const [id] = await idsOf(bench);
    const { status, json } = await bench.get(`${path}/${id}`);

    expect(status).toBe(200);
    expect(json).toMatchObject({ id, reason: "refused", requests: 1 });
    expect(json.contents).toEqual([
      {
        id: expect.any(String),
        capturedAt: "2026-01-02T03:04:05.678Z",
        method: "GET",
        path: "/0",
        version: "1.1",
        headers: [
          { name: "Host", value: "shop.example" },
          { name: "Cookie", value: "…" },
          { name: "Authorization", value: "…" },
        ],
        bodyState: "complete",
        bodyBytes: 3,
        body: "tea",
      },
    ]);
  });

  it("cuts long bodies", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 1, { body: Buffer.alloc(9_000, "a") })]);
    const { json } = await bench.get(`${path}/${(await idsOf(bench))[0]}`);

    expect(json.contents[0]).toMatchObject({ bodyBytes: 9_000, body: "a".repeat(2_000) });
  });

  it("says why a dead letter cannot be decoded", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([garbage]);
    const { status, json } = await bench.get(`${path}/${(await idsOf(bench))[0]}`);

    expect(status).toBe(200);
    expect(json).toMatchObject({ reason: "no pack", contents: [], undecodable: expect.any(String) });
  });

  it("leaves the dead letter in place, so that it can be redriven", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 1)]);
    await bench.get(`${path}/${(await idsOf(bench))[0]}`);

    expect((await bench.send("POST", `${path}/redrive`)).json).toMatchObject({ messages: 1, remaining: 0 });
  });

  it("is 404 for an unknown id", async () => {
    const { status, json } = await new ControlBench().get(`${path}/4711`);

    expect([status, json.detail]).toEqual([
      404,
      "staging has no dead letter 4711; spoa-relay dlq list staging lists them",
    ]);
  });
});

describe("POST /v1/queues/{queue}/dead-letters/redrive", () => {
  it("puts all back into the target's queue, and removes their fates from its ledger", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 3), garbage]);
    await bench.state.ledger.settle("staging", pack().id, new Map([0, 1, 2].map((index) => [index, "deadLettered"])));
    const { status, json } = await bench.send("POST", `${path}/redrive`);

    const startedAt = new Date(bench.nowMs).toISOString();
    const redriven = {
      messages: 1,
      requests: 3,
      obsolete: 0,
      undecodable: 1,
      newer: 0,
      remaining: 1,
      startedAt,
      done: true,
    };
    expect([status, json]).toEqual([200, redriven]);
    expect(packIn((await receive(bench))[0])).toMatchObject({ id: pack().id, attempt: 0 });
    expect((await bench.get("/v1/targets/staging")).json.fates.deadLettered).toBe(0);
    expect(bench.log.lines).toMatchObject([{ event: "redriven", queue: "staging", requests: 3 }]);
  });

  it("puts back only the named one", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("a", 1), deadLetter("b", 2), deadLetter("c", 3)]);
    const [, id] = await idsOf(bench);
    const { json } = await bench.send("POST", `${path}/redrive`, { id });

    expect(json).toMatchObject({ messages: 1, requests: 2, undecodable: 0, remaining: 2, done: true });
    expect((await receive(bench)).map((delivery) => packIn(delivery).requests.length)).toEqual([2]);
  });

  it("puts dead letters of the ingress queue back into it, to be fanned out", async () => {
    const bench = new ControlBench();
    await bench.ingress.deadLetters.send([packMessage({ requests: requests(2) })]);
    const { json } = await bench.send("POST", "/v1/queues/ingress/dead-letters/redrive", {});

    expect(json).toMatchObject({ messages: 1, requests: 2, done: true });
    expect(bench.ingress.depth().requests).toBe(2);
  });

  it.each(["staging", "ingress"])(
    "updates the ledger of a target that reads the ingress queue itself: %s",
    async (name) => {
      const bench = new ControlBench({ direct: true });
      await bench.ingress.deadLetters.send([deadLetter("refused", 1)]);
      await bench.state.ledger.settle("staging", pack().id, new Map([[0, "deadLettered"]]));
      await bench.send("POST", `/v1/queues/${name}/dead-letters/redrive`);

      expect((await bench.get("/v1/targets/staging")).json.fates.deadLettered).toBe(0);
      expect(bench.ingress.depth().requests).toBe(1);
    },
  );

  it("ends after 500 dead letters, and continues when it is called again", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send(
      Array.from({ length: 503 }, (_, sequence) => packMessage({ sequence, requests: requests(1) })),
    );
    const first = await bench.send("POST", `${path}/redrive`);
    const second = await bench.send("POST", `${path}/redrive`);

    expect(first.json).toMatchObject({ messages: 500, requests: 500, undecodable: 0, remaining: 3, done: false });
    expect(second.json).toMatchObject({ messages: 3, requests: 3, undecodable: 0, remaining: 0, done: true });
  }, 30_000);

  it("is 404 for an unknown id", async () => {
    const { status, json } = await new ControlBench().send("POST", `${path}/redrive`, { id: "4711" });

    expect([status, json.detail]).toEqual([
      404,
      "staging has no dead letter 4711; spoa-relay dlq list staging lists them",
    ]);
  });

  it.each([
    ["an id that is a number", { id: 42 }, 400, "body.id: "],
    ["an empty id", { id: "" }, 400, "body.id: "],
    ["an unknown key", { ids: ["42"] }, 400, "body: unknown key ids; allowed here: id"],
    ["text that is not JSON", "id=42", 400, "the body is not valid JSON"],
  ])("refuses %s, and redrives nothing", async (_, body, status, detail) => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 1)]);
    const answered = await bench.send("POST", `${path}/redrive`, body);

    expect(answered.status).toBe(status);
    expect(answered.json.detail).toContain(detail);
    expect(bench.queue.depth().messages).toBe(0);
  });

  it("does not redrive everything if the body is not declared as JSON", async () => {
    const bench = new ControlBench();
    await bench.queue.deadLetters.send([deadLetter("refused", 1)]);

    expect((await bench.send("POST", `${path}/redrive`, '{"id":"7"}', "text/plain")).status).toBe(415);
    expect(bench.queue.depth().messages).toBe(0);
  });
});

function deadLetter(reason: string, count: number, changes: Parameters<typeof requests>[1] = {}): OutgoingMessage {
  const whole = pack({ requests: requests(count, changes) });
  return shareMessage(whole, whole.requests, { attempt: 3, reason });
}

async function listed(bench: ControlBench, from: string): Promise<readonly [letters: number, messages: number]> {
  const { json } = await bench.get(from);
  return [json.letters.length, json.messages];
}

async function idsOf(bench: ControlBench): Promise<string[]> {
  return (await bench.queue.deadLetters.browse(100)).map(({ messageId }) => messageId);
}

async function receive({ queue }: ControlBench) {
  return queue.receive({ max: 10, waitMs: 0, visibilityMs: 0, signal: new AbortController().signal });
}
