import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startFauxqs } from "fauxqs";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { EmbeddedQueue } from "../../relay/queue/embedded.ts";
import { QueueError } from "../../relay/queue/port.ts";
import { rememberQueues, removedInDirectory, removedInSqs } from "../../relay/removed-queues.ts";
import type { LedgerTotals } from "../../relay/state/port.ts";
import { changeSettings, closeBreaker, openBreaker, slowDown } from "../../relay/state/target-control.ts";
import { startStates } from "../support/aws/dynamodb-states.ts";
import { pack, packMessage, requests } from "../support/data/packs.ts";
import { temporaryDirectory } from "../support/data/temporary-directory.ts";

const noLedger: LedgerTotals = { agents: [], targets: new Map() };

describe("removed targets of embedded queues", () => {
  it("are found by their files, without those that are configured", async () => {
    const directory = temporaryDirectory();
    for (const name of ["ingress", "target-kept", "target-old", "target-a-b", "target-late"]) {
      const queue = EmbeddedQueue.open({ directory, name });
      await queue.send([packMessage({ requests: requests(3) })]);
      queue.close();
    }
    const removed = removedInDirectory(directory, [{ name: "kept" }, { name: "late" }]);
    onTestFinished(() => removed.close());
    const found = await removed.find(noLedger);
    const old = found.get("old") as EmbeddedQueue;

    expect([...found.keys()].sort()).toEqual(["a-b", "old"]);
    expect(await old.backlog()).toMatchObject({ messages: 1, requests: 3 });
    expect((await removed.find(noLedger)).get("old")).toBe(old);
  });

  it("have an error if their file is not a queue", async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "target-old.queue.db"), "no database".repeat(1_000));
    const removed = removedInDirectory(directory, []);

    expect((await removed.find(noLedger)).get("old")).toBeInstanceOf(QueueError);
  });
});

describe("removed targets in SQS", { timeout: 60_000 }, () => {
  beforeEach(() => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "test");
  });

  it("are found at the queues that the state remembers, and else where the ingress queue is", async () => {
    const { url, state, awsOf, targetsOf } = await startCloud("packs-old", "packs-plain", "elsewhere");
    const before = { aws: awsOf({ moved: `${url}/elsewhere`, next: `${url}/packs-next` }), controls: state.controls };
    await rememberQueues({ ...before, targets: targetsOf("moved", "next") });
    await fanOutTo(state.ledger, "moved", "next", "plain");
    const removed = removedInSqs({
      ...state,
      aws: awsOf({ next: `${url}/packs-next` }),
      targets: targetsOf("next"),
    });
    onTestFinished(() => removed.close());
    const found = await removed.find(await state.ledger.totals());
    const [moved, plain] = ["moved", "plain"].map((name) => found.get(name));
    if (!moved || moved instanceof QueueError || !plain || plain instanceof QueueError) throw new Error("not found");
    await moved.queue.send([packMessage()]);

    expect([...found.keys()].sort()).toEqual(["moved", "plain"]);
    expect(await moved.backlog()).toMatchObject({ messages: 1 });
    expect(await plain.backlog()).toMatchObject({ messages: 0, deadMessages: 0 });
  });

  it("are not listed if another target reads their queue now", async () => {
    const { state, awsOf, targetsOf } = await startCloud();
    await rememberQueues({ aws: awsOf({}), controls: state.controls, targets: targetsOf("one") });
    await fanOutTo(state.ledger, "one");
    const removed = removedInSqs({ ...state, aws: awsOf({}), targets: targetsOf("another") });

    expect(await removed.find(await state.ledger.totals())).toEqual(new Map());
  });

  it("keep their queue in the state when anything else of their control changes", async () => {
    const { url, state, awsOf, targetsOf } = await startCloud();
    const { controls } = state;
    const place = { aws: awsOf({ a: `${url}/packs-a` }), controls, targets: targetsOf("a") };
    await controls.write("a", { settings: { paused: true } }, 0);
    await rememberQueues(place);
    const { control, version } = await controls.read("a");
    await rememberQueues(place);
    const changed = closeBreaker(slowDown(openBreaker(changeSettings(control, { paused: null }), 1, 1, "refused"), 1));
    await controls.write("a", changed, version);

    expect(control).toMatchObject({ settings: { paused: true }, queue: `${url}/packs-a` });
    expect((await controls.read("a")).control).toMatchObject({ queue: `${url}/packs-a` });
  });
});

async function startCloud(...queues: readonly string[]) {
  const emulator = await startFauxqs({ port: 0, logger: false });
  onTestFinished(() => emulator.stop());
  for (const name of queues) {
    emulator.createQueue(name);
    emulator.createQueue(`${name}-dlq`);
  }
  const url = `http://127.0.0.1:${emulator.port}/000000000000`;
  return {
    url,
    state: (await startStates()).open(),
    awsOf: (urls: Readonly<Record<string, string>>) => ({
      ingressQueue: `${url}/packs`,
      targetQueues: new Map(Object.entries(urls)),
    }),
    targetsOf: (...names: readonly string[]) => names.map((name) => ({ name })),
  };
}

async function fanOutTo(
  ledger: Awaited<ReturnType<typeof startCloud>>["state"]["ledger"],
  ...targets: readonly string[]
): Promise<void> {
  const { id, agent, sequence } = pack();
  const settlements = new Map([...targets, "capture/all", "job/one"].map((name) => [name, new Map()]));
  await ledger.recordFanOut({ pack: id, agent, sequence, requests: 3, targets: settlements });
}
