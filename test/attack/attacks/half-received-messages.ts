import { setTimeout as sleep } from "node:timers/promises";
import { frame, hello, notify, uint32 } from "../../support/spop/spop-frames.ts";
import { SpopPeer } from "../../support/spop/spop-peer.ts";
import { startAgent } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";

const frameBytes = 16 * 1024 * 1024;
// The unit in agent/systemd allows 512 MiB. An agent without load uses 140 MiB.
const mostMiB = 400;

/** A message of almost 16 MiB whose last fragment never comes, or a frame of which the last byte is missing. */
function unfinished(i: number): Buffer {
  const payload = Buffer.alloc(frameBytes - 1024, 65);
  if (i % 2 === 0) return frame({ type: 3, flags: 0, streamId: 1, frameId: 1, payload });
  const whole = frame({ type: 3, streamId: 1, frameId: 1, payload });
  return whole.subarray(0, whole.length - 1);
}

export const attack: Attack = {
  name: "half-received-messages",
  promise: "what SPOP peers have half sent has a size, and HAProxy is served",
  async run(ground) {
    const { agent, port } = await startAgent(ground, { env: { MALLOC_ARENA_MAX: "2" } });
    const haproxy = new SpopPeer({ port, host: "127.0.0.1" }).read();
    await haproxy.send(hello());
    let asked = 0;
    const ask = async () => {
      await haproxy.send(notify({ streamId: ++asked }));
      await Promise.race([haproxy.frames(1 + asked), sleep(10_000)]);
    };
    const peers: SpopPeer[] = [];
    for (let i = 0; i < 40; i++) {
      const peer = new SpopPeer({ port, host: "127.0.0.1" }).read();
      await peer.send(hello({ "max-frame-size": uint32(frameBytes) }));
      await peer.frames(1);
      await Promise.race([peer.send(unfinished(i)), sleep(5_000)]);
      peers.push(peer);
      await ask();
    }
    // A frame of a type that nobody knows looks like progress.
    for (let i = 0; i < 5; i++) {
      for (const peer of peers) peer.socket.write(frame({ type: 50, streamId: 1, frameId: 1 }));
      await sleep(1_000);
      await ask();
    }
    const answered = (await Promise.race([haproxy.frames(1 + asked), sleep(1_000, [])])).length - 1;
    const open = peers.filter(({ socket }) => !socket.closed).length;
    const logged = agent.output.split("\n").filter((line) => /"level":"(warn|error)"/.test(line)).length;
    for (const { socket } of [...peers, haproxy]) socket.destroy();
    const seen = `${open} of 40 peers still hold 16 MiB, ${logged} log lines, ${answered} of ${asked} requests of HAProxy acknowledged`;
    const held = agent.peakMiB <= mostMiB && logged > 0 && answered === asked;
    return { held, peakMiB: agent.peakMiB, lost: asked - answered, seen };
  },
};
