import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
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
    const [agentPort, agentAdmin, admin, shadowPort] = await ground.ports(4);
    const file = join(ground.directory, "spoa-relay.yaml");
    writeFileSync(
      file,
      `agent: { listen: "127.0.0.1:${agentPort}", admin: "127.0.0.1:${agentAdmin}" }
host: { admin: "127.0.0.1:${admin}" }
queue: embedded:./data
targets:
  t: { url: "http://127.0.0.1:${shadowPort}", rate: 10/s }
`,
    );
    const shadow = await CountingShadow.listen(shadowPort, answerAfterMs);
    try {
      const agent = ground.start(["agent", "--config", file]);
      await agent.printed('"event":"listening"');
      const host = ground.start(["host", "--config", file]);
      await host.printed('"event":"replaying"');
      await mirrorRequests(agentPort, requests);
      const set = async (rate: string) => {
        const command = ground.start(["targets", "set", "t", "--rate", rate, "--config", file]);
        await Promise.race([command.exited(), sleep(10_000)]);
        return command.exitCode;
      };
      const code = await set("1000000000/s");
      await sleep(2_000);
      await set("10/s");
      const before = shadow.received;
      const longestMs = await longestAnswerMs(admin, 6_000);
      const sent = shadow.received - before;
      const seen = `a rate of 10⁹/s was ${code === 0 ? "taken" : "refused"}; at 10/s then ${sent} requests in 6 s`;
      return { held: longestMs < calmMs && sent >= 30 && sent < 200, peakMiB: host.peakMiB, longestMs, seen };
    } finally {
      shadow.close();
    }
  },
};
