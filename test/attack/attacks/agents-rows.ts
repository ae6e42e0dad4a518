import { join } from "node:path";
import type { EmbeddedState } from "../../../relay/state/embedded/state.ts";
import type { Attack } from "../attack.ts";

const hosts = 50;
const startsAWeek = 40;
const weeks = 200;
const weekMs = 7 * 86_400_000;
// Runs of three weeks, the hosts, and those that are gone.
const rowsMost = 3 * startsAWeek + 2 * hosts + 1;

/** Starts agents again and again for four simulated years, under new names each year. Each start loses a pack. */
export const attack: Attack = {
  name: "agents-rows",
  promise: "the state does not grow with the starts of agents, and no total changes",
  async run(ground) {
    const module = (await import(join(ground.tree, "relay/state/embedded/state.ts"))) as {
      readonly EmbeddedState: typeof EmbeddedState;
    };
    let nowMs = Date.parse("2026-11-01");
    const state = module.EmbeddedState.open(join(ground.directory, "data"), () => nowMs);
    try {
      for (let start = 0; start < weeks * startsAWeek; start++) {
        const host = (start % hosts) + hosts * Math.floor(start / startsAWeek / 52);
        const agent = `host-${host}~${start.toString(16).padStart(8, "0")}`;
        await state.ledger.recordFanOut({ pack: `${start}`, agent, sequence: 2, requests: 10, targets: new Map() });
        if (start % startsAWeek !== startsAWeek - 1) continue;
        nowMs += weekMs;
        // Versions before have nothing to fold.
        await state.fold?.();
      }
      const startMs = performance.now();
      const { agents, ended = [] } = await state.ledger.totals();
      const longestMs = performance.now() - startMs;
      const [rows, requests] = [agents.length + ended.length, sum(agents, "requests") + sum(ended, "requests")];
      const missing = sum(agents, "lastSequence") - sum(agents, "packs") + sum(ended, "missingPacks");
      const starts = weeks * startsAWeek;
      const seen = `${starts} runs in ${rows} rows, ${requests} requests and ${missing} missing packs`;
      return { held: rows <= rowsMost && requests === 10 * starts && missing === starts, longestMs, seen };
    } finally {
      state.close();
    }
  },
};

function sum<Name extends string>(rows: readonly Readonly<Record<Name, number>>[], name: Name): number {
  return rows.reduce((total, row) => total + row[name], 0);
}
