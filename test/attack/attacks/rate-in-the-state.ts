import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { startAgentAndHost } from "../agent-and-host.ts";
import type { Attack } from "../attack.ts";
import { CountingShadow, longestAnswerMs, mirrorRequests } from "../requests.ts";

const requests = 200;
const withinMs = 15_000;

/** Starts a host with the state that `targets set --rate 1000000000000000000/s` left in a version that allowed it. */
export const attack: Attack = {
  name: "rate-in-the-state",
  promise: "no number that an older version left stops a start",
  async run(ground) {
    const [shadowPort] = await ground.ports(1);
    writeState(join(ground.directory, "data"));
    const shadow = await CountingShadow.listen(shadowPort);
    try {
      const target = `url: "http://127.0.0.1:${shadowPort}", rate: 100/s`;
      const { host, port, hostAdmin } = await startAgentAndHost(ground, target);
      await mirrorRequests(port, requests);
      const longestMs = await longestAnswerMs(hostAdmin, 3_000);
      for (const endMs = performance.now() + withinMs; shadow.received < requests && performance.now() < endMs; ) {
        await sleep(100);
      }
      const lost = requests - shadow.received;
      const [, reason] =
        /"event":"(?:state-down|setting-repaired)"[^\n]*?"reason":"((?:[^"\\]|\\.)*)"/.exec(host.output) ?? [];
      const seen = `sent ${shadow.received} of ${requests}${reason === undefined ? "" : `; the log: ${reason}`}`;
      return { held: lost === 0 && longestMs < 1_000, peakMiB: host.peakMiB, longestMs, lost, seen };
    } finally {
      shadow.close();
    }
  },
};

function writeState(directory: string): void {
  mkdirSync(directory, { mode: 0o700 });
  const file = new DatabaseSync(join(directory, "state.db"));
  file.exec(`
    CREATE TABLE control (target TEXT PRIMARY KEY, version INTEGER NOT NULL, control TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE round (
      target TEXT PRIMARY KEY, number INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER NOT NULL, close_us INTEGER NOT NULL,
      seats INTEGER NOT NULL, slot_us REAL NOT NULL, first_slot INTEGER NOT NULL, first_us INTEGER NOT NULL, entered INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO control VALUES ('t', 1, '{"settings":{"ratePerSecond":1e18}}');
  `);
  const nowUs = BigInt(Date.now()) * 1_000n;
  const [startUs, endUs, closeUs] = [nowUs - 1_000_000n, nowUs - 400_000n, nowUs - 650_000n];
  const insert = file.prepare("INSERT INTO round VALUES ('t', 9, ?, ?, ?, 1, 1e-12, 625000000000000000, ?, 0)");
  insert.run(startUs, endUs, closeUs, startUs);
  file.close();
}
