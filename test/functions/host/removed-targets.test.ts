import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RunningHost, startHost } from "../../../functions/host/host.ts";
import { loadConfig } from "../../../relay/config/load.ts";
import { EmbeddedQueue } from "../../../relay/queue/embedded.ts";
import { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import type { Fate } from "../../../relay/state/port.ts";
import { addsUp, toEquations } from "../../../relay/stats/ledger-equations.ts";
import { LogLines } from "../../support/data/log-lines.ts";
import { pack, packMessage, requests } from "../../support/data/packs.ts";
import { temporaryDirectory } from "../../support/data/temporary-directory.ts";

describe("a host with a target less than before", () => {
  it("says at its start what waits for a target that was renamed, and what to do", async () => {
    const directory = await directoryWith("old", { waiting: 400, dead: 7 });
    const { log, get } = await hostIn(directory, "renamed");

    expect(log.lines.filter(({ event }) => event === "target-removed")).toEqual([
      expect.objectContaining({
        level: "warn",
        target: "old",
        waiting: { messages: 1, requests: 400 },
        deadLetters: { messages: 1, requests: 7 },
        msg: expect.stringMatching(/^target old is no longer .* spoa-relay dlq redrive old --to renamed, or discard/),
      }),
    ]);
    const stats = await get("/stats");
    expect(stats.removed.old).toMatchObject({ enqueued: 410, inQueue: 400, inDeadLetters: 7 });
    expect(addsUp(toEquations(undefined, stats))).toBe(true);
    expect((await get("/warnings")).warnings).toHaveLength(1);
    expect(await get("/v1/health")).toEqual({ ready: true });
  });

  it("says nothing about a target that was removed with nothing left", async () => {
    const directory = await directoryWith("old", { waiting: 0, dead: 0 });
    const { log, get } = await hostIn(directory, "another");

    expect(log.lines.filter(({ event }) => event === "target-removed")).toEqual([]);
    expect(await get("/stats")).not.toHaveProperty("removed");
    expect(await get("/warnings")).toEqual({ warnings: [] });
  });

  it("says nothing about a target that is back", async () => {
    const directory = await directoryWith("old", { waiting: 3, dead: 0 });
    const { get } = await hostIn(directory, "old");

    expect((await get("/stats")).targets.old).toMatchObject({ enqueued: 6, inQueue: 3 });
    expect(await get("/warnings")).toEqual({ warnings: [] });
  });
});

/** A data directory as a host with one target leaves it. Three requests more were answered. */
async function directoryWith(target: string, left: { readonly waiting: number; readonly dead: number }) {
  const directory = temporaryDirectory();
  const data = join(directory, "data");
  const queue = EmbeddedQueue.open({ directory: data, name: `target-${target}` });
  const state = EmbeddedState.open(data);
  const send = async (sequence: number, count: number, lane: Pick<EmbeddedQueue, "send"> | undefined, fate?: Fate) => {
    if (count === 0) return;
    const fields = { sequence, requests: requests(count) };
    await lane?.send([packMessage(fields)]);
    const { id, agent } = pack(fields);
    const targets = new Map([[target, new Map()]]);
    await state.ledger.recordFanOut({ pack: id, agent, sequence, requests: count, targets });
    if (fate)
      await state.ledger.settle(target, id, new Map(Array.from({ length: count }, (_, index) => [index, fate])));
  };
  await send(1, left.waiting, queue);
  await send(2, left.dead, queue.deadLetters, "deadLettered");
  await send(3, 3, undefined, "answered.2xx");
  queue.close();
  state.close();
  return directory;
}

/** A host with one target, whose requests stay in its queue. */
async function hostIn(directory: string, target: string) {
  const file = join(directory, "spoa-relay.yaml");
  const socketPath = join(directory, "admin.sock");
  writeFileSync(
    file,
    [
      "queue: embedded:./data",
      `host: { admin: "unix:${socketPath}" }`,
      `targets: { ${target}: { url: http://127.0.0.1:9, rate: unlimited, blackout: 00:00-24:00 UTC } }`,
    ].join("\n"),
  );
  const log = new LogLines();
  const host: RunningHost = await startHost(loadConfig(file, {}), log.log);
  onTestFinished(async () => {
    await host.stop();
  });
  const get = async (path: string) => {
    const client = new Client("http://localhost", { socketPath });
    try {
      // biome-ignore lint/suspicious/noExplicitAny: any answer of the API.
      return (await (await client.request({ method: "GET", path })).body.json()) as any;
    } finally {
      await client.close();
    }
  };
  return { log, get };
}
