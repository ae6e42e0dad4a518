import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startAgentAndHost } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";

const connections = 1_000;
// Each sends one more byte this often, as if its network were slow.
const dripMs = 500;
const watchMs = 15_000;
const patienceMs = 5_000;

export const attack: Attack = {
  name: "slow-headers",
  promise: "slow clients of the admin addresses keep nobody out, and do not stay",
  async run(ground) {
    const started = await startAgentAndHost(ground, 'url: "http://127.0.0.1:1", rate: 10/s');
    const { agent, admin: agentAdmin, host, hostAdmin, configFile } = started;
    const slow = [agentAdmin, hostAdmin].map((port) => Array.from({ length: connections }, () => slowClient(port)));
    let longestMs = 0;
    let answers = 0;
    let calls = 0;
    for (const endMs = performance.now() + watchMs; performance.now() < endMs; await sleep(dripMs)) {
      for (const port of [agentAdmin, hostAdmin]) {
        const startMs = performance.now();
        const answered = await fetch(`http://127.0.0.1:${port}/stats`, {
          headers: { connection: "close" },
          signal: AbortSignal.timeout(patienceMs),
        }).then(
          ({ status }) => status === 200,
          () => false,
        );
        longestMs = Math.max(longestMs, performance.now() - startMs);
        calls++;
        if (answered) answers++;
      }
      for (const socket of slow.flat()) if (!socket.destroyed) socket.write("x");
    }
    const list = ground.start(["targets", "list", "--config", configFile]);
    await list.exited();
    const kept = slow.map((sockets) => sockets.filter(({ destroyed }) => !destroyed).length);
    for (const socket of slow.flat()) socket.destroy();
    return {
      held: answers === calls && list.exitCode === 0 && Math.max(...kept) === 0,
      peakMiB: Math.max(agent.peakMiB, host.peakMiB),
      longestMs,
      seen: `${answers} of ${calls} others answered; of ${connections} slow clients each, ${kept.join(" and ")} still connected after ${watchMs / 1_000} s`,
    };
  },
};

function slowClient(port: number): Socket {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  socket.resume().write("GET /stats HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ");
  return socket;
}
