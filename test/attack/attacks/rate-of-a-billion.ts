import { setTimeout as sleep } from "node:timers/promises";
import { startAgentAndHost } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";
import { CountingShadow, longestAnswerMs, mirrorRequests } from "../requests.ts";

const answerAfterMs = 50;
const requests = 20_000;
const calmMs = 1_000;

/** Sets a rate of 10⁹ a second while requests wait, and then one of 10 a second: 10⁸ slots pass between two that are used. */
export const attack: Attack = {
  name: "rate-of-a-billion",
  promise: "no number stops the host",
  async run(ground) {
    const [shadowPort] = await ground.ports(1);
    const shadow = await CountingShadow.listen(shadowPort, answerAfterMs);
    try {
      const target = `url: "http://127.0.0.1:${shadowPort}", rate: 10/s`;
      const { host, port, hostAdmin, configFile } = await startAgentAndHost(ground, target);
      await mirrorRequests(port, requests);
      const set = async (rate: string) => {
        const command = ground.start(["targets", "set", "t", "--rate", rate, "--config", configFile]);
        await Promise.race([command.exited(), sleep(10_000)]);
        return command.exitCode;
      };
      const code = await set("1000000000/s");
      await sleep(2_000);
      await set("10/s");
      const before = shadow.received;
      const longestMs = await longestAnswerMs(hostAdmin, 6_000);
      const sent = shadow.received - before;
      const seen = `a rate of 10⁹/s was ${code === 0 ? "taken" : "refused"}; at 10/s then ${sent} requests in 6 s`;
      return { held: longestMs < calmMs && sent >= 30 && sent < 200, peakMiB: host.peakMiB, longestMs, seen };
    } finally {
      shadow.close();
    }
  },
};
