import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { get, hello, notify } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";
import { startAgent } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";

const maxFiles = 256;
const crowdSize = 400;
const patienceMs = 5_000;

export const attack: Attack = {
  name: "crowd-of-connections",
  promise: "a crowd of idle connections does not lock HAProxy out, and is logged",
  async run(ground) {
    const { agent, port, admin } = await startAgent(ground, { maxFiles });

    const haproxy = new SpopPeer({ port, host: "127.0.0.1" }).read();
    await haproxy.send(hello(), notify());
    await haproxy.frames(2);
    const crowd = Array.from({ length: crowdSize }, () => new SpopPeer({ port, host: "127.0.0.1" }).read());
    await Promise.all(crowd.map(({ socket }) => Promise.race([once(socket, "connect"), once(socket, "close")])));
    // As HAProxy does: without a HELLO they would be closed after 5 s.
    for (const { socket } of crowd) socket.write(hello());
    await sleep(500);

    await haproxy.send(notify({ streamId: 3, messages: [get("/old")] }));
    const old = (await Promise.race([haproxy.frames(3), sleep(patienceMs, [])])).length === 3;
    const late = new SpopPeer({ port, host: "127.0.0.1" }).read();
    const startMs = performance.now();
    await late.send(hello(), notify({ messages: [get("/late")] }));
    const accepted = (await Promise.race([late.frames(2), sleep(patienceMs, [])])).length === 2;
    const longestMs = performance.now() - startMs;
    const figures = await fetch(`http://127.0.0.1:${admin}/healthz`, { signal: AbortSignal.timeout(patienceMs) }).then(
      ({ status }) => status,
      () => undefined,
    );
    const logged = agent.output.split("\n").filter((line) => /"level":"(warn|error)"/.test(line)).length;
    for (const { socket } of [...crowd, haproxy, late]) socket.destroy();
    const seen = `old connection ${old ? "served" : "not served"}, new one ${accepted ? "served" : "refused"}, /healthz ${figures ?? "no answer"}, ${logged} log lines`;
    return {
      held: old && accepted && figures === 200 && logged > 0,
      longestMs,
      lost: Number(!old) + Number(!accepted),
      seen,
    };
  },
};
