import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Attack } from "../attack.ts";

// As a client of the control API would wait.
const patienceMs = 10_000;

export const attack: Attack = {
  name: "rate-of-a-billion",
  promise: "no number stops the host",
  async run(ground) {
    const [admin, shadow] = await ground.ports(2);
    const file = join(ground.directory, "spoa-relay.yaml");
    writeFileSync(
      file,
      `host: { admin: "127.0.0.1:${admin}" }\nqueue: embedded:./data\ntargets:\n  t: { url: "http://127.0.0.1:${shadow}", rate: 10/s }\n`,
    );
    const host = ground.start(["host", "--config", file]);
    for (let tries = 0; tries < 300 && !host.output.includes('"event":"replaying"'); tries++) await sleep(100);
    const set = ground.start(["targets", "set", "t", "--rate", "1000000000/s", "--config", file]);
    await Promise.race([set.exited(), sleep(patienceMs)]);
    const startMs = performance.now();
    const answer = await fetch(`http://127.0.0.1:${admin}/healthz`, { signal: AbortSignal.timeout(patienceMs) }).then(
      (response) => response.status,
      () => undefined,
    );
    const longestMs = performance.now() - startMs;
    const seen = `command: exit code ${set.exitCode}; /healthz then: ${answer ?? "no answer"}`;
    return { held: answer === 200 && longestMs < 1_000, peakMiB: host.peakMiB, longestMs, seen };
  },
};
