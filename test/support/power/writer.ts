import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Journal } from "../../../agent/shipper/journal.ts";
import { DirectoryArchive } from "../../../relay/archive/directory.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import type { Delivery, QueueReceiver } from "../../../relay/queue/port.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import { type Written, written } from "./written.ts";

// Uses a store as agent and host do, and marks what it may rely on from then on: writer.ts DIRECTORY STORE
const [root, store] = process.argv.slice(2);
const marks = openSync(join(root, ".mark"), "w");
const mark = (what: string, index: number) => writeSync(marks, `${what} ${index}`);

const stores: Readonly<Record<string, () => Promise<void>>> = { relay, journal, archive };
await stores[store]();

async function relay(): Promise<void> {
  const directory = join(root, "data");
  const [agent, ingress, target] = ["ingress", "ingress", "target-t"].map((name) =>
    EmbeddedQueue.open({ directory, name }),
  );
  const state = EmbeddedState.open(directory);
  const { ledger, controls } = state;
  const byId = new Map(written.map((each) => [each.id, each]));
  let settled = 0;
  const send = async () => {
    for (const { index, id, pack } of written) {
      await agent.send([{ body: JSON.stringify({ id }), pack, requests: 1 }]);
      mark("sent", index);
    }
  };
  const fanOut = async () => {
    for (let done = 0; done < written.length; ) {
      const deliveries = await receive(ingress);
      await Promise.all(
        deliveries.map(async ({ body, pack }) => {
          const { id, index } = toWritten(body, byId);
          await target.send([{ body, pack, requests: 1 }]);
          await ledger.recordFanOut({
            pack: id,
            agent: "a~1",
            sequence: index + 1,
            requests: 1,
            targets: new Map([["t", new Map()]]),
          });
        }),
      );
      await ingress.delete(deliveries.map(({ receipt }) => receipt));
      done += deliveries.length;
    }
  };
  const replay = async (delivery: Delivery) => {
    const { id, index, dies } = toWritten(delivery.body, byId);
    if (dies) await target.deadLetters.send([{ body: delivery.body, pack: delivery.pack, requests: 1 }]);
    await ledger.settle("t", id, new Map([[0, dies ? "deadLettered" : "answered.2xx"]]));
    mark("settled", index);
    await target.delete([delivery.receipt]);
    settled++;
  };
  const replayAll = async () => {
    while (settled < written.length) {
      await Promise.all((await receive(target)).map(replay));
      const { version } = await controls.read("t");
      if (version < settled && (await controls.write("t", { settings: { ratePerSecond: settled } }, version))) {
        mark("rate", settled);
      }
    }
  };
  await Promise.all([send(), fanOut(), replayAll()]);
  // Until the WAL is emptied, and a new one follows it.
  await sleep(2_500);
  await agent.send([{ body: JSON.stringify({ id: "last" }), pack: Uint8Array.of(1), requests: 1 }]);
  for (const each of [agent, ingress, target, state]) each.close();
}

function receive(queue: QueueReceiver): Promise<readonly Delivery[]> {
  return queue.receive({ max: 5, waitMs: 1_000, visibilityMs: 30_000, signal: new AbortController().signal });
}

function toWritten(body: string, byId: ReadonlyMap<string, Written>): Written {
  const found = byId.get(JSON.parse(body).id);
  if (!found) throw new Error(`nobody has sent ${body}`);
  return found;
}

async function journal(): Promise<void> {
  const options = { directory: join(root, "journal"), run: "a~1", maxBytes: 1e9, whenFull: "drop-newest" } as const;
  const open = Journal.open({ ...options, onExposed: () => {}, onLost: () => {} });
  const tickets = [];
  for (const { index, id, pack } of written) {
    const ticket = open.append({ body: JSON.stringify({ id }), pack, requests: 1 });
    if (ticket) tickets.push(ticket);
    if (index % 10 === 9) {
      await open.sync();
      for (let i = index - 9; i <= index; i++) mark("synced", i);
    }
    if (index % 3 === 2) {
      mark("done", index);
      open.done(tickets[index]);
    }
  }
  open.close();
}

async function archive(): Promise<void> {
  const open = DirectoryArchive.open(join(root, "archive"));
  for (const { index, name, pack } of written) {
    await open.put(name, pack);
    mark("put", index);
    if (index % 4 !== 3) continue;
    // As captures are merged: the copies are put before the originals are deleted.
    const old = written.slice(index - 3, index + 1);
    await open.put(`merged/${index}`, Buffer.concat(old.map((each) => each.pack)));
    for (const each of old) mark("merging", each.index);
    await open.delete(old.map((each) => each.name));
  }
}
