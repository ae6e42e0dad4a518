import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { get, hello, notify } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";
import { startAgent } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";

const maxFiles = 1_024;
const peers = 1_000;
const callers = 500;
const patienceMs = 5_000;
const enqueueMs = 15_000;

export const attack: Attack = {
  name: "crowd-at-both-addresses",
  promise: "crowds at agent.listen and agent.admin together leave descriptors for HAProxy and for the queue",
  async run(ground) {
    const { agent, port, admin } = await startAgent(ground, { maxFiles });

    const crowd = Array.from({ length: peers }, () => new SpopPeer({ port, host: "127.0.0.1" }).read());
    await Promise.all(crowd.map(({ socket }) => settled(socket)));
    for (const { socket } of crowd) socket.write(hello());
    const calls = Array.from({ length: callers }, () =>
      connect(admin, "127.0.0.1")
        .on("error", () => {})
        .resume(),
    );
    await Promise.all(calls.map(settled));

    // The first request: the queue is opened for it.
    const haproxy = new SpopPeer({ port, host: "127.0.0.1" }).read();
    const startMs = performance.now();
    await haproxy.send(hello(), notify({ messages: [get("/late")] }));
    const served = (await Promise.race([haproxy.frames(2), sleep(patienceMs, [])])).length === 2;
    const longestMs = performance.now() - startMs;
    let enqueued: number | undefined;
    for (const endMs = performance.now() + enqueueMs; !enqueued && performance.now() < endMs; await sleep(200)) {
      enqueued = await enqueuedOf(admin);
    }
    for (const socket of [...crowd.map((peer) => peer.socket), ...calls, haproxy.socket]) socket.destroy();
    const failed = /too many open files|EMFILE|unable to open/i.exec(agent.output)?.[0];
    const seen = `HAProxy ${served ? "served" : "refused"}, ${enqueued ?? "unknown"} requests enqueued, ${failed ?? "no error of files"}`;
    return { held: served && enqueued === 1 && failed === undefined, longestMs, lost: Number(enqueued !== 1), seen };
  },
};

function settled(socket: Socket): Promise<unknown> {
  return Promise.race([once(socket, "connect"), once(socket, "close"), sleep(patienceMs)]).catch(() => {});
}

async function enqueuedOf(admin: number): Promise<number | undefined> {
  try {
    const signal = AbortSignal.timeout(patienceMs);
    const answer = await fetch(`http://127.0.0.1:${admin}/stats`, { headers: { connection: "close" }, signal });
    return ((await answer.json()) as { readonly enqueued: number }).enqueued;
  } catch {
    return undefined;
  }
}
